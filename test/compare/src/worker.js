// @ts-check
// One replica of a contender: node worker.js ORDERS. It keeps a journal, and begins when it reads a line on stdin.

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { now, openJournal } from '@solorun/faults/journal';

/** @import { ContenderName } from './contenders.js' */
/** @import { IsMine } from './recipe.js' */

/**
 * @typedef {object} Orders
 * @property {ContenderName} contender
 * @property {string} store
 * @property {string} label
 * @property {string} journal
 * @property {number} leaseMs
 * @property {number} lateMs How far its clock is behind ours; ahead, if negative.
 * @property {{ everyMs: number, jobMs: number } | 'hold' | 'hold once'} work A job at each tick; or a lock, held until it is lost.
 */

/** A replica that wakes so late after a tick is too late to be compared, in ms. */
const ON_TIME_MS = 150;
/** How often a handler that holds a lock acts, in ms. */
const STEP_MS = 50;

const orders = /** @type {Orders} */ (JSON.parse(process.argv[2] ?? ''));
const { contender, store, label, leaseMs, lateMs, work } = orders;
const { note } = openJournal(orders.journal, label);

if (lateMs !== 0) {
  globalThis.Date = new Proxy(Date, {
    construct: (Real, given) => (given.length === 0 ? new Real(Real.now() - lateMs) : Reflect.construct(Real, given)),
    get: (Real, key) => (key === 'now' ? () => Real.now() - lateMs : Reflect.get(Real, key)),
  });
}
// Loaded after the clock was set.
const { contenders } = await import('./contenders.js');

const lost = new AbortController();
const recipe = await contenders[contender].open({
  store,
  leaseMs,
  tell(what) {
    if (!lost.signal.aborted) note({ kind: 'lost', detail: what });
    lost.abort();
  },
});
note({ kind: 'up' });
process.stdin.once('end', () => process.exit());
await once(process.stdin, 'data');

if (typeof work === 'object') {
  const { everyMs, jobMs } = work;
  recipe.schedule(`*/${everyMs / 1_000} * * * * *`, async (at) => {
    note({ kind: 'begin', at: at.getTime() });
    await sleep(jobMs);
  });
  for (;;) {
    const at = (Math.floor(Date.now() / everyMs) + 1) * everyMs;
    await sleep(at - Date.now());
    // On a busy machine this process, too, is late at times.
    if (Date.now() - at < ON_TIME_MS) note({ kind: 'asked', at });
  }
} else {
  for (let again = true; again; again = work === 'hold') {
    try {
      await recipe.hold(act);
    } catch (error) {
      note({ kind: 'answered', result: String(error) });
    }
    // A wait that failed is begun again, as a program does that wants the lock.
    await sleep(STEP_MS);
  }
}

/** Acts until the package says that the lock is lost, by itself or because it was asked. @param {IsMine} [isMine] */
async function act(isMine) {
  note({ kind: 'begin' });
  while (!lost.signal.aborted) {
    const t = now();
    const mine = isMine?.();
    note({ kind: 'step', t, ...(mine === undefined ? {} : { trusted: mine }) });
    if (mine === false) return;
    await sleep(STEP_MS);
  }
}
