// @ts-check
// Plays a demo on a stage of its own, tells it as it goes, and says by the exit status whether what was promised held.

import { constants } from 'node:os';
import { openStage } from './stage.js';
import { report } from './verdict.js';

/**
 * @param {string | undefined} url As for the stage.
 * @param {(stage: import('./stage.js').Stage) => Promise<import('./verdict.js').Count[]>} play
 */
export async function show(url, play) {
  const startedAt = performance.now();
  const stage = await openStage({
    url,
    tell: (text) => console.log(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(5)} s  ${text}`),
  });
  let interrupted = false;
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => {
      interrupted = true;
      void stage.close().finally(() => process.exit(128 + constants.signals[signal]));
    });
  }
  try {
    const counts = await play(stage);
    console.log(`\n${report(counts)}`);
    process.exitCode = counts.every(({ kept }) => kept) ? 0 : 1;
  } catch (error) {
    // What it was doing cannot succeed then.
    if (!interrupted) console.error(`\nThe demo did not get to its end: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  } finally {
    await stage.close();
  }
}
