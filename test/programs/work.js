// @ts-check
// One replica that runs one occurrence of a job in small steps, and says each of them.
import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo, LeaseLostError } from '@solorun/core';
import { now, say } from './say.js';
import { openStore } from './store.js';

const [store = '', leaseMs = '', at = '', steps = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store), leaseMs: Number(leaseMs) });

solo.on('busy', () => say({ waiting: true }));
try {
  const result = await solo.run(
    'job',
    async ({ fence, attempt, recovering, signal, checkpoint }) => {
      say({ started: String(fence), attempt, recovering });
      signal.addEventListener('abort', () => say({ aborted: signal.reason.reason }));
      for (let step = 0; step < Number(steps); step += 1) {
        await sleep(5);
        // What a handler that was paused asks first.
        if (signal.aborted) say({ asked: 'aborted' });
        // Before it is asked: the process may be stopped between the answer and the word of it.
        const askedAt = now();
        checkpoint();
        say({ at: askedAt, step });
      }
    },
    { occurrence: new Date(at), attempts: 2, onBusy: 'standby' },
  );
  say({ status: result.status, reason: 'reason' in result ? result.reason : undefined });
} catch (error) {
  if (!(error instanceof LeaseLostError)) throw error;
  say({ status: 'lost', reason: error.reason });
}
await solo.close();
