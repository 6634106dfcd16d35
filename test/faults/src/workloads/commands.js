// @ts-check
// Each replica is a cron: at each tick it starts `solorun run` for every name. The command cannot ask whether its lock is held, so each of
// its steps stands for trust: it must not outlive its lock.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** @import { Stage } from '../workloads.js' */

const SOLORUN = join(dirname(createRequire(import.meta.url).resolve('@solorun/cli/package.json')), 'bin/solorun.js');
const COMMAND = fileURLToPath(new URL('../command.js', import.meta.url));
/** The exit statuses of `solorun run` (docs/cli.md). */
const WORDS = new Map([
  [0, 'ran'],
  [69, 'error: the store'],
  [75, 'held'],
]);
/** Node.js takes a tenth of a second to start, three times for each command. */
const TICK_MS = 1_000;
/** A machine that is busy starts no more of them at a time. */
const AT_ONCE = 2;

/** @param {Stage} stage */
export async function commands({ orders, note }) {
  const { names, store, leaseMs, jobMs, stepMs, attempts, journal } = orders;
  const [name = ''] = names;
  const stopping = new AbortController();
  /** @type {Set<Promise<void>>} */
  const running = new Set();
  let count = 0;

  const run = async () => {
    const id = String((count += 1));
    note({ kind: 'asked', id, name });
    const options = [
      '--store',
      store,
      '--lease',
      `${leaseMs}ms`,
      '--interval',
      `${TICK_MS}ms`,
      '--attempts',
      String(attempts),
      '--grace',
      '100ms',
    ];
    const child = spawn(
      process.execPath,
      [
        SOLORUN,
        'run',
        name,
        ...options,
        '--quiet',
        '--',
        process.execPath,
        COMMAND,
        journal,
        orders.label,
        id,
        String(jobMs),
        String(stepMs),
      ],
      { stdio: 'ignore' },
    );
    try {
      const [status, signal] = await once(child, 'exit');
      note({ kind: 'answered', id, name, result: WORDS.get(status) ?? `error: ${signal ?? status}` });
    } catch (error) {
      // It could not be started: no file is left to this process, say.
      note({ kind: 'answered', id, name, result: `error: ${String(error)}` });
    }
  };

  const ticking = (async () => {
    for (;;) {
      try {
        await sleep(TICK_MS - (Date.now() % TICK_MS), undefined, { signal: stopping.signal });
      } catch (error) {
        if (stopping.signal.aborted) return;
        throw error;
      }
      if (running.size >= AT_ONCE) continue;
      const one = run().finally(() => running.delete(one));
      running.add(one);
    }
  })();
  return async () => {
    stopping.abort();
    await ticking;
    await Promise.all(running);
  };
}
