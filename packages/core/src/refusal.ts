import type { OccurrenceVerdict } from './occurrence.ts';
import type { AcquireRequest, JobRecord, Pause, Refusal } from './provider.ts';

/**
 * Why a name is not granted. Undefined: nothing that the provider has read is in the way. If the try was not granted all the same,
 * another process was faster, and the provider asks again.
 *
 * @param verdict on the occurrence, of a request that has one
 * @param held whether another acquisition holds the name, whatever the record says
 * @param nowMs the provider's clock, in ms since the epoch
 * @param expiresInMs as `heldBy` takes it
 * @param pause the one in force, unless the request ignores it; what can never run any more is told before it, and so is what is early
 */
export function refusalOf(
  verdict: OccurrenceVerdict | undefined,
  held: boolean,
  record: JobRecord | undefined,
  nowMs: number,
  expiresInMs?: number,
  pause?: Pause,
): Refusal | undefined {
  if (verdict?.verdict === 'early') return { acquired: false, reason: 'early', earlyMs: verdict.earlyMs, record };
  if (verdict !== undefined && verdict.verdict !== 'claim' && verdict.verdict !== 'held') {
    return { acquired: false, reason: verdict.verdict, record };
  }
  if (pause !== undefined) return { acquired: false, reason: 'paused', ...pause, record };
  return held ? heldBy(record, nowMs, expiresInMs) : undefined;
}

/**
 * The refusal of a name that is held. A record that shows the name as free is behind: it does not name the holder.
 *
 * @param expiresInMs when the lease ends, where the provider knows better than the record. @default as the record has it
 */
export function heldBy(
  record: JobRecord | undefined,
  nowMs: number,
  expiresInMs: number | undefined = expiryIn(record, nowMs),
): Extract<Refusal, { reason: 'held' }> {
  if (record?.held !== true) return { acquired: false, reason: 'held', expiresInMs, record };
  return {
    acquired: false,
    reason: 'held',
    holder: record.holder,
    // The clock may have been set back since.
    heldForMs: Math.max(0, nowMs - record.acquiredAt.getTime()),
    expiresInMs,
    record,
  };
}

/** The refusal of a name that another process may still hold by a lease that its server has forgotten. */
export function settlingRefusal(settlesInMs: number, { occurrence }: AcquireRequest): Refusal {
  return occurrence === undefined
    ? { acquired: false, reason: 'held', expiresInMs: settlesInMs, settling: true }
    : { acquired: false, reason: 'early', earlyMs: settlesInMs, settling: true };
}

function expiryIn(record: JobRecord | undefined, nowMs: number): number | undefined {
  return record?.expiresAt == null ? undefined : record.expiresAt.getTime() - nowMs;
}
