// @ts-check
// The faults that happen to each contender, and the figures that come of them. Times are in ms.

import { setTimeout as sleep } from 'node:timers/promises';
import { now } from '@solorun/faults/journal';
import { startProxy } from '@solorun/servers/network';
import { contenders } from './contenders.js';
import { openPlace } from './place.js';
import { startReplica } from './replica.js';

/** @import { Line } from '@solorun/faults/journal' */
/** @import { ContenderName } from './contenders.js' */
/** @import { Place } from './place.js' */
/** @import { Replica } from './replica.js' */
/** @import { Orders } from './worker.js' */

/**
 * @typedef {object} Effort
 * @property {number} leaseMs How long a lock lives without news of its holder.
 * @property {number} patienceMs A successor that has not begun by then never will.
 * @property {number} ticks How many are looked at when one replica is 200 ms late.
 * @property {number} skewedTicks How many when clocks are wrong.
 */

/** proper-lockfile takes no less than 5 s. @type {Effort} */
export const full = { leaseMs: 5_000, patienceMs: 60_000, ticks: 30, skewedTicks: 6 };

/** Between a holder's beginning and what happens to it: less than any renewal takes to come. */
const SETTLED_MS = 300;
/** By then a job that runs every second has come to its next tick. */
const TICKED_MS = 1_300;

/** For so many times as many ticks at most a busy machine is given the time. */
const WINDOWS = 3;
/** On a machine that is too busy a fault may come later than it should. Then the trial is made again, so often at most. */
const ATTEMPTS = 5;
/** A holder that has not learned of its loss after so many leases never will: each package renews more often. */
const RENEWALS = 4;

/** @typedef {{ ticks: number, twice: number, never: number }} TickFigures For how many ticks all replicas were awake, and how many of them ran so often. */

/**
 * The fate of a holder, and of the replica that waited for its lock.
 *
 * @typedef {object} HolderFigures
 * @property {boolean} isUnlocked The waiting replica ran before anything was done to the holder.
 * @property {number | undefined} followedMs After the fault, until the other replica began; undefined: it never did.
 * @property {number | undefined} besideMs For how long the holder went on to act, after the other had begun and it was awake; undefined: it did not.
 * @property {number | undefined} learnedMs After the beginning of the other, until the holder learned of its loss; negative: before; undefined: never.
 * @property {boolean} isHolding In the end the holder still believed in its lock.
 * @property {boolean} crashed The holder's process ended by itself.
 * @property {string | undefined} [error] The last words of a process that ended by itself.
 */

/**
 * Two replicas, the clock of each behind ours by so much.
 *
 * @param {ContenderName} name
 * @param {readonly number[]} clocks
 * @param {number} everyS
 * @param {number} count of ticks
 * @param {Effort} effort
 * @param {() => Promise<void>} [together] Resolves when all that run at the same time are ready.
 * @returns {Promise<TickFigures>}
 */
export async function countTicks(name, clocks, everyS, count, { leaseMs }, together = async () => {}) {
  return withPlace(
    name,
    async ({ place, start }) => {
      const work = { everyMs: everyS * 1_000, jobMs: 20 };
      const replicas = await Promise.all(clocks.map((lateMs, slot) => start(`r${slot}`, { work, lateMs, store: place.store })));
      await together();
      for (const replica of replicas) replica.go();
      // The first tick that neither has missed.
      const from = Date.now() - Math.min(...clocks) + 2_000;
      const first = Math.ceil(from / 1_000 / everyS) * everyS * 1_000;
      /** @type {number[]} */
      let often = [];
      // Where the machine was too busy for most of the ticks, more are waited for.
      for (let ticks = count; ticks <= count * WINDOWS && often.length < count / 3; ticks += count) {
        await sleep(first + (ticks - 1) * everyS * 1_000 + Math.max(...clocks) + 1_500 - Date.now());
        const lines = replicas.flatMap((replica) => replica.lines());
        const countOf = (/** @type {Line['kind']} */ kind, /** @type {number} */ tick) =>
          lines.filter((line) => line.kind === kind && line.at === tick).length;
        often = Array.from({ length: ticks }, (_, n) => first + n * everyS * 1_000)
          .filter((tick) => countOf('asked', tick) === replicas.length)
          .map((tick) => countOf('begin', tick));
      }
      return { ticks: often.length, twice: often.filter((n) => n > 1).length, never: often.filter((n) => n === 0).length };
    },
    leaseMs,
  );
}

/**
 * The process that holds the lock is killed.
 *
 * @param {ContenderName} name
 * @param {Effort} effort
 */
export async function kill(name, effort) {
  return onHolder(name, effort, {
    isDeadly: true,
    async strike({ holder }) {
      await holder.kill();
    },
  });
}

/**
 * It is stopped until the other one has begun, and woken then.
 *
 * @param {ContenderName} name
 * @param {Effort} effort
 */
export async function pause(name, effort) {
  return onHolder(name, effort, {
    async strike({ holder }) {
      holder.signal('SIGSTOP');
    },
    mend({ holder }) {
      holder.signal('SIGCONT');
    },
  });
}

/**
 * Its cable is cut, for good.
 *
 * @param {ContenderName} name
 * @param {Effort} effort
 */
export async function cut(name, effort) {
  return onHolder(name, effort, {
    async strike({ proxy }) {
      proxy?.cut();
    },
  });
}

/**
 * The machine of the server is reset, and the server started again; then another one asks for the lock. The holder hears nothing of it until
 * it sends something, as TCP has it; its connection is reset then.
 *
 * @param {ContenderName} name
 * @param {Effort} effort
 */
export async function reset(name, effort) {
  return onHolder(
    name,
    { ...effort, patienceMs: Math.min(effort.patienceMs, effort.leaseMs * 4) },
    {
      isNewcomer: true,
      async strike({ place, proxy }) {
        proxy?.cut('down');
        const sent = proxy?.chunks.up ?? 0;
        await place.server?.kill();
        await place.server?.start();
        void (async () => {
          await comesTrue(() => (proxy?.chunks.up ?? 0) > sent, effort.patienceMs);
          proxy?.breakAll();
          proxy?.mend();
        })();
      },
    },
  );
}

/**
 * An administrator ends the connections of a holder; no other replica waits.
 *
 * @param {ContenderName} name
 * @param {Effort} effort
 * @returns {Promise<{ crashed: boolean, error?: string | undefined }>}
 */
export async function endConnections(name, effort) {
  return withPlace(
    name,
    async ({ place, start }) => {
      const holder = await start('holder', { work: 'hold once', store: place.store });
      holder.go();
      await holder.does('begin');
      await sleep(SETTLED_MS);
      await place.server?.endConnections();
      await sleep(effort.leaseMs * 1.5);
      const crash = holder.lines().find(({ kind }) => kind === 'crashed');
      return { crashed: crash !== undefined, error: crash?.result };
    },
    effort.leaseMs,
  );
}

/**
 * @typedef {object} Scene
 * @property {Place} place
 * @property {Replica} holder
 * @property {import('@solorun/servers/network').Proxy | undefined} proxy Between the holder and the server.
 */

/**
 * @param {ContenderName} name
 * @param {Effort} effort
 * @param {{ strike: (scene: Scene) => Promise<void>, mend?: (scene: Scene) => void, isNewcomer?: boolean, isDeadly?: boolean }} fault
 *   `isNewcomer`: the other one asks for the lock after the fault, and not before. `isDeadly`: the holder does nothing after it.
 * @returns {Promise<HolderFigures>}
 */
async function onHolder(name, effort, fault) {
  for (let attempt = 1; ; attempt += 1) {
    const { isPrompt, figures } = await strikeHolder(name, effort, fault);
    if (isPrompt || attempt === ATTEMPTS) return figures;
  }
}

/**
 * @param {ContenderName} name
 * @param {Effort} effort
 * @param {Parameters<typeof onHolder>[2]} fault
 * @returns {Promise<{ isPrompt: boolean, figures: HolderFigures }>} `isPrompt`: the fault was over before the holder had to renew its lock.
 */
async function strikeHolder(name, { leaseMs, patienceMs }, { strike, mend, isNewcomer = false, isDeadly = false }) {
  return withPlace(
    name,
    async ({ place, start }) => {
      const proxy = place.server === undefined ? undefined : await startProxy({ port: place.server.port });
      try {
        const store = proxy?.through(place.store) ?? place.store;
        const holder = await start('holder', { work: 'hold once', store });
        const other = await start('other', { work: 'hold', store: place.store });
        holder.go();
        await holder.does('begin');
        const heldAt = now();
        if (!isNewcomer) other.go();
        await sleep(contenders[name].locksTicks ? TICKED_MS : SETTLED_MS);
        const begun = () => other.lines().find(({ kind }) => kind === 'begin')?.t;
        const isUnlocked = begun() !== undefined;
        const before = now();
        await strike({ place, holder, proxy });
        const struckAt = isNewcomer ? now() : before;
        const isPrompt = contenders[name].locksTicks === true || struckAt - heldAt < leaseMs / 3;
        if (isNewcomer) other.go();
        await comesTrue(() => begun() !== undefined, patienceMs);
        const followedAt = begun();
        if (mend !== undefined) await sleep(SETTLED_MS);
        // From now on it acts awake.
        const sinceAt = mend === undefined ? followedAt : now();
        mend?.({ place, holder, proxy });
        const isOver = () => learnedOf(holder) !== undefined || crashOf(holder) !== undefined;
        if (followedAt !== undefined && !isDeadly) await comesTrue(isOver, leaseMs * RENEWALS);
        await sleep(SETTLED_MS);
        return { isPrompt, figures: figuresOf({ holder, isUnlocked, struckAt, followedAt, sinceAt }) };
      } finally {
        await proxy?.stop();
      }
    },
    leaseMs,
  );
}

/** @param {{ holder: Replica, isUnlocked: boolean, struckAt: number, followedAt: number | undefined, sinceAt: number | undefined }} what @returns {HolderFigures} */
function figuresOf({ holder, isUnlocked, struckAt, followedAt, sinceAt }) {
  const learned = learnedOf(holder);
  const crash = crashOf(holder);
  const beside = holder
    .lines()
    .findLast(({ kind, t, trusted }) => kind === 'step' && trusted !== false && sinceAt !== undefined && t > sinceAt);
  return {
    isUnlocked,
    followedMs: followedAt === undefined ? undefined : followedAt - struckAt,
    besideMs: beside === undefined || sinceAt === undefined ? undefined : beside.t - sinceAt,
    learnedMs: learned === undefined || followedAt === undefined ? undefined : learned - followedAt,
    isHolding: learned === undefined && crash === undefined,
    crashed: crash !== undefined,
    error: crash?.result,
  };
}

/** When the package said that the lock is lost, by itself or because the handler asked. @param {Replica} replica */
function learnedOf({ lines }) {
  return lines().find(({ kind, trusted }) => kind === 'lost' || (kind === 'step' && trusted === false))?.t;
}

/** @param {Replica} replica @returns {Line | undefined} */
function crashOf({ lines }) {
  return lines().find(({ kind }) => kind === 'crashed');
}

/**
 * @template T
 * @param {ContenderName} name
 * @param {(stage: {
 *   place: Place,
 *   start: (label: string, orders: Pick<Orders, 'work' | 'store'> & Partial<Orders>) => Promise<Replica>,
 * }) => Promise<T>} act
 * @param {number} leaseMs
 */
async function withPlace(name, act, leaseMs) {
  const place = await openPlace(contenders[name].store);
  /** @type {Replica[]} */
  const replicas = [];
  try {
    return await act({
      place,
      async start(label, orders) {
        const replica = await startReplica({ contender: name, label, leaseMs, lateMs: 0, ...orders }, place.directory);
        replicas.push(replica);
        return replica;
      },
    });
  } finally {
    await Promise.all(replicas.map((replica) => replica.kill()));
    await place.stop();
  }
}

/**
 * Looks until it is so, or the time is over.
 *
 * @param {() => boolean} look
 * @param {number} ms
 */
async function comesTrue(look, ms) {
  for (const end = now() + ms; !look() && now() < end;) await sleep(20);
}
