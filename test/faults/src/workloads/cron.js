// @ts-check
// schedule() of @solorun/node-cron, each second.

import { schedule } from '@solorun/node-cron';

/** @import { Stage } from '../workloads.js' */

/** @param {Stage} stage */
export async function cron({ solo, orders, handler, note }) {
  let count = 0;
  const tasks = orders.names.map((name) =>
    schedule(
      solo,
      '* * * * * *',
      async (context) => {
        const id = String((count += 1));
        note({ kind: 'asked', id, name });
        await handler(id, name, context);
        note({ kind: 'answered', id, name, result: 'ran' });
      },
      { name, attempts: orders.attempts, onBusy: orders.onBusy === 'standby' ? 'standby' : 'skip', logger: quiet },
    ),
  );
  return async () => {
    for (const task of tasks) await task.destroy();
  };
}

/** Failures are in the journal. */
const quiet = { info() {}, warn() {}, error() {}, debug() {} };
