// @ts-check
// Forgets one lock again and again, until SIGTERM, and says how often it was there to be forgotten.
import { setTimeout as sleep } from 'node:timers/promises';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = '', name = ''] = process.argv.slice(2);
const provider = await openStore(store);
const quit = new AbortController();
process.once('SIGTERM', () => quit.abort());

let forgotten = 0;
say({ ready: true });
while (!quit.signal.aborted) {
  // Rejects if another process was faster in the middle of it.
  const isGone = await provider.forget(name, { untouchedForMs: 0 }, new AbortController().signal).catch(() => false);
  if (isGone) say({ forgotten: (forgotten += 1) });
  await sleep(1);
}
await provider.close();
