import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { RunResult } from '@solorun/core';
import { duration } from './duration.ts';
import type { Voice } from './output.ts';
import type { RunSettings } from './run-options.ts';
import { named } from './show.ts';
import type { Signals } from './signals.ts';

/** A run that skips does not wait for a store that settles for longer, in ms: as long as the default of --lease. */
const PATIENCE_MS = 60_000;
/** Added to the instant until which the store grants nothing, so that the next try does not come a moment too early, in ms. */
const AGAIN_MS = 20;

/**
 * A store that has just come back grants nothing yet. Its locks have no holder to skip for, so a run that would be skipped waits for the
 * store instead, unless that takes long. Processes that live for a moment would be refused one after the other, each on its own.
 */
export async function onceSettled<T>(
  runOnce: () => Promise<RunResult<T>>,
  { name, policy }: RunSettings,
  { interrupted }: Signals,
  voice: Voice,
): Promise<RunResult<T>> {
  const patientUntil = Date.now() + PATIENCE_MS;
  for (;;) {
    const running = runOnce();
    // Node.js shows a warning of the provider one turn later. It explains the result, so it comes first.
    await Promise.allSettled([running]);
    await nextTurn();
    const result = await running;
    if (result.status === 'ran' || result.settling !== true || policy.onBusy !== 'skip') return result;
    const { retryAt } = result;
    if (retryAt === undefined || retryAt.getTime() > patientUntil) return result;
    voice.note(
      `${named(name)} waits for the store, which has just come back: ${duration(Math.max(0, retryAt.getTime() - Date.now()))}`,
    );
    try {
      await sleep(retryAt.getTime() - Date.now() + AGAIN_MS, undefined, { signal: interrupted });
    } catch (error) {
      interrupted.throwIfAborted();
      throw error;
    }
  }
}
