import type { JobRecord } from './provider.ts';

/**
 * Whether a record may be forgotten: nobody holds the name, it is not paused, and for so long it was neither acquired nor released. A
 * scheduled time that is still to come counts as a touch: a yearly job is no forgotten one.
 */
export function isUntouched(record: JobRecord, untouchedForMs: number): boolean {
  const { readAt, held, paused, acquiredAt, lastFinishedAt, nextDueAt } = record;
  if (held || paused !== undefined) return false;
  const touches = [acquiredAt, lastFinishedAt, nextDueAt].map((at) => at?.getTime() ?? Number.NEGATIVE_INFINITY);
  return readAt.getTime() - Math.max(...touches) >= untouchedForMs;
}
