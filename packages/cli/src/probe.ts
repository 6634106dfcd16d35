import type { JobRecord } from '@solorun/core';

/** The lock that `solorun doctor` tries: reserved, and always the same, because its record stays. */
export const PROBE = 'solorun doctor';

/** In any namespace. A record that is held is another matter: a doctor runs, or hangs. */
export function isLeftByDoctor({ name, held }: JobRecord): boolean {
  return !held && (name === PROBE || name.endsWith(`/${PROBE}`));
}
