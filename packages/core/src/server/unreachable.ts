import type { Finding } from '../finding.ts';

/** The finding of a provider whose server did not answer. */
export function unreachable(error: unknown): Finding {
  // After several tries, the drivers report one error whose own message is empty.
  const { message, code } = error as NodeJS.ErrnoException;
  return { check: 'server', state: 'unreachable', says: `cannot be reached: ${message || code || 'no reason given'}` };
}
