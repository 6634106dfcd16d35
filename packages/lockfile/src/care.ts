import type { Outcome } from '@solorun/core';
import type { LockRecord } from './record.ts';
import type { Care } from './store.ts';

/** Whether a record must survive a crash of the machine, by whether it carries an occurrence. */
export type Durable = (occurrence: boolean) => boolean;

/**
 * How a record is written, at its acquisition or (with an outcome) at its release.
 *
 * A release without an occurrence needs no care: its holder is done. A reader that meets a mixture of old and new takes it for held, for
 * released or for expired, or cannot make it out and waits, and each of these is right. But a mixture may tell lies about an occurrence.
 *
 * To abandon a claim takes no flush either: a crash of the machine then brings back the claim of a run that never started, and it counts
 * as one that has started. On a slow disk, claims that were granted too late all end that way, and the flushes of others do not wait for
 * theirs.
 */
export function careFor(durable: Durable, record: LockRecord, outcome?: Outcome): Care {
  if (outcome?.result !== 'abandoned' && durable(record.occurrence !== undefined)) return 'durable';
  return record.occurrence === undefined ? 'loose' : 'whole';
}
