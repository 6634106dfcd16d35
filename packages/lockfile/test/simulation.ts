import type { OccurrenceRequest, Outcome } from '@solorun/core';
import { trustedUntil } from '@solorun/core';
import type { Scheduler } from 'fast-check';
import type { Generations, GenerationsOptions } from '../src/generations.ts';
import type { FileStore, StoredFile } from '../src/store.ts';

/*
 * A fleet on a simulated file store, in virtual time. Every verb of the store takes two steps, its effect and its answer, or more
 * where a real one is not atomic, and the scheduler picks whose step comes next; between any two of them a process may be paused for
 * long or crash for good. On a disk, what is held stays open: its holder writes there whatever became of its name, a reader sees what
 * is half written, and a crash may leave that behind. On a slow one, what is to be durable can be seen long before it is on the disk, and
 * a flush may fail.
 *
 * What is checked at every grant and at every action of a holder:
 *  - at most one process trusts its lease, by its own clock (whose setting and rate differ from the store's);
 *  - the fences of those who come to trust one grow strictly;
 *  - no occurrence is started more often than it has attempts, nor after its holder was told that it is recorded as done, unless it was
 *    forgotten meanwhile;
 *  - none is granted that was asked for after the confirmation of a pause that still stands;
 * at every release and renewal, that a holder whose time is not over is not told that its lease was lost, unless a process has gone by the
 *   floor meanwhile, because it had found the first lease of a row over;
 * at every renewal, that a lease whose time is over by the store's clock is not renewed;
 * and at the end, that a newcomer gets the lock after one lease: nobody's crash has blocked it.
 */

export interface World {
  readonly scheduler: Scheduler;
  /** Numbers from 0 to 999, the world's only source of chance. */
  readonly draw: () => number;
  readonly Generations: typeof Generations;
  /** The kernel tells of dead holders. */
  readonly kernel: boolean;
  /** Writing to a key that is gone brings it back, as a PUT to an object store does. */
  readonly resurrects: boolean;
  /** A listing reads some of the keys before the others. */
  readonly tornListings: boolean;
  /** Modification times, and the store's clock, are rounded down to this. */
  readonly granularityMs: number;
  /** All is to be durable, and flushes take long, fail, and are given up. */
  readonly slow?: boolean;
  /** Mutations of the holder's side, which the core owns. */
  readonly trust?: 'from the response' | 'extends after the deadline';
  /** One more process forgets the lock now and then, another one pauses it. */
  readonly operators?: boolean;
  /** What each process asks for, in ms. @default LEASE_MS */
  readonly leases?: readonly number[];
}

const LEASE_MS = 200;
const MARGIN_MS = 3;
/** After this long a file that cannot be read is given up. */
const UNREADABLE_MS = 61_000;
const PROCESSES = 3;
const ACQUISITIONS = 3;
/** Two that forget, and one that pauses. */
const OPERATORS = 3;
const FORGETS = 6;
const PAUSES = 2;
/** Per acquisition: most find the lock held. */
const TRIES = 8;

export class Violation extends Error {}

/** Of the store: what was asked for has happened, or it has not. */
class Trouble extends Error {}

interface File {
  body: string;
  modifiedAt: number;
  readonly creator: number;
  /** Its creator has closed it. */
  closed: boolean;
}

interface Trust {
  readonly process: number;
  readonly clock: () => number;
  until: number;
}

/** What an exploration has seen, so that it can be told from one that saw nothing. */
export interface Sightings {
  /** Leases that came to be trusted. */
  grants: number;
  /** Of those, taken from a holder that was expired or dead. */
  takeovers: number;
  /** Times that the lock was forgotten. */
  forgotten: number;
  /** Pauses that were confirmed. */
  pauses: number;
}

const never = new AbortController().signal;

export async function simulate(world: World, sightings: Sightings): Promise<void> {
  const { scheduler, draw } = world;
  const files = new Map<string, File>();
  const crashed = new Set<number>();
  const trusting = new Set<Trust>();
  const released = new Map<bigint, boolean>();
  const starts = new Map<number, number>();
  const done = new Set<number>();
  let time = 1_000_000;
  let lastFence = 0n;
  /** Contents of files that make the lock forgotten. */
  const forgetting = new Set<string>();
  let forgotten = 0;
  /** The pause that was confirmed, and that no process has begun to end. */
  let pause: object | undefined;
  /** Of the generations that were made by the floor. */
  let highestStart = 0n;

  const storeTime = (): number => Math.floor(time / world.granularityMs) * world.granularityMs;

  /** By process: after how many steps its caller gives the try up. */
  const patience = new Map<number, { left: number; readonly quit: AbortController }>();

  /** One step of one process: time passes, others may come first, and this may be its last. */
  async function step(process: number): Promise<void> {
    const caller = patience.get(process);
    if (caller !== undefined && (caller.left -= 1) === 0) caller.quit.abort();
    const chance = draw();
    if (chance < 2) {
      crashed.add(process);
      throw new Crash();
    }
    const waits = chance < 60 ? 10 + chance : 1;
    for (let n = 0; n < waits; n += 1) await scheduler.schedule(Promise.resolve());
    const leap = draw();
    time += leap < 1 ? UNREADABLE_MS : leap < 6 ? LEASE_MS : leap < 26 ? 30 : leap < 250 ? 1 : 0;
  }

  /** A crashed process never hears of it, and runs no finally block. */
  const alive = (steps: Promise<void>, process: number): Promise<void> =>
    steps.catch((error: unknown) => {
      if (!(error instanceof Crash)) throw error;
      ends[process]?.();
      return new Promise<never>(() => {});
    });

  function storeFor(process: number): FileStore {
    const verb = async <T>(effect: () => T): Promise<T> => {
      await alive(step(process), process);
      const answer = effect();
      await alive(step(process), process);
      return answer;
    };
    const held = new Map<string, File>();
    const left = new Map<string, File>();
    const put = (key: string, file: File): boolean => {
      if (forgetting.has(file.body)) {
        forgotten += 1;
        starts.clear();
        done.clear();
      }
      return files.set(key, file).has(key);
    };
    const create = (body: string): File => ({ body, modifiedAt: storeTime(), creator: process, closed: false });

    /** As a disk does it: the kernel's lock, the modification time and the content come one after the other. */
    async function readOpen(key: string): Promise<StoredFile | undefined> {
      for (;;) {
        const file = await verb(() => files.get(key));
        if (file === undefined) return undefined;
        const unlocked = crashed.has(file.creator) || file.closed;
        await alive(step(process), process);
        const { modifiedAt } = file;
        if (unlocked && ![...files.values()].includes(file)) continue;
        await alive(step(process), process);
        return { body: file.body, modifiedAt, device: 'disk', unlocked };
      }
    }

    async function flush(signal?: AbortSignal): Promise<void> {
      if (world.slow !== true) return;
      for (let more = draw() % 12; more > 0; more -= 1) {
        signal?.throwIfAborted();
        await alive(step(process), process);
      }
      if (draw() < 20) throw new Trouble();
    }

    /** In place: half of it, then all of it, then the file is closed. */
    async function overwrite(file: File, body: string): Promise<void> {
      await verb(() => {
        const cut = draw() % body.length;
        file.modifiedAt = storeTime();
        file.body = body.slice(0, cut) + file.body.slice(cut);
      });
      await verb(() => void (file.body = body));
    }

    return {
      kind: 'simulation',
      granularityMs: world.granularityMs,
      proof: world.kernel ? { pid: process, bootId: 'boot', lockedOn: 'disk' } : { pid: process },
      now: () => verb(storeTime),
      async createExclusive(key, body, _, spare = '', signal) {
        if (world.slow === true && draw() < 20) throw new Trouble();
        const used = left.get(spare);
        const usable = used !== undefined && (await verb(() => files.get(spare) === used));
        if (usable) {
          used.closed = false;
          await overwrite(used, body);
        }
        const created = await verb(() => {
          // A link leads to whatever bears the name by now.
          const file = usable ? files.get(spare) : create(body);
          if (file === undefined || files.has(key)) return false;
          files.set(key, file);
          if (file.body.includes('"start"')) highestStart = max(highestStart, BigInt(key.split('.')[1]!));
          held.set(key, usable ? used : file);
          return true;
        });
        if (usable) await verb(() => files.delete(spare));
        if (usable && !created) used.closed = true;
        if (created) await flush(signal);
        return created && usable ? 'from spare' : created;
      },
      read: (key) => {
        if (world.kernel) return readOpen(key);
        return verb(() => {
          const file = files.get(key);
          return file && { body: file.body, modifiedAt: file.modifiedAt };
        });
      },
      async write(key, body, care) {
        // From the moment at which it can be seen, what was known of occurrences is forgotten.
        if (body.includes('"closed": true')) forgetting.add(body);
        if (world.resurrects) return verb(() => put(key, create(body)));
        const own = held.get(key);
        if (own?.body === body) {
          await verb(() => (own.modifiedAt = storeTime()));
          return verb(() => files.get(key) === own);
        }
        if (own !== undefined && care === 'loose') {
          if (!(await verb(() => files.get(key) === own))) return false;
          await overwrite(own, body);
          held.delete(key);
          own.closed = true;
          left.set(key, own);
          return true;
        }
        if (!(await verb(() => files.has(key) && (own === undefined || files.get(key) === own)))) return false;
        if (care === 'durable') await flush();
        // A flush takes long, and so it is looked at again.
        if (care === 'durable' && !(files.has(key) && (own === undefined || files.get(key) === own))) return false;
        await verb(() => put(key, { ...create(body), closed: true }));
        if (own !== undefined) own.closed = true;
        held.delete(key);
        return true;
      },
      async list(prefix) {
        const matching = (): string[] => [...files.keys()].filter((key) => key.startsWith(prefix)).sort();
        if (!world.tornListings) return verb(matching);
        // A directory is read in two parts. A key that is there all the time is in one of them, whatever comes and goes beside it.
        const first = draw() % 2;
        const part = (which: number): string[] =>
          matching().filter((key) => key.charCodeAt(key.lastIndexOf('.') - 1) % 2 === which);
        return [...(await verb(() => part(first))), ...(await verb(() => part(1 - first)))];
      },
      letGo: async (key, body) => {
        const own = held.get(key);
        if (own?.body !== body) return;
        own.closed = true;
        held.delete(key);
      },
      remove: (key) =>
        verb(() => {
          files.delete(key);
          const own = held.get(key);
          if (own !== undefined) own.closed = true;
          held.delete(key);
        }),
      close: async () => {},
    };
  }

  function checkTrust(newcomer?: { fence: bigint }): void {
    const now = [...trusting].filter((trust) => trust.clock() < trust.until && !crashed.has(trust.process));
    if (now.length > 1) throw new Violation(`${now.length} processes trust their lease at once`);
    if (newcomer === undefined) return;
    if (newcomer.fence <= lastFence) throw new Violation(`fence ${newcomer.fence} after ${lastFence}`);
    lastFence = newcomer.fence;
  }

  /** By the store's clock, now. */
  function isSpent(fence: bigint, leaseMs: number): boolean {
    const file = files.get(`job.${fence}.lock`);
    return file !== undefined && storeTime() >= file.modifiedAt + leaseMs + world.granularityMs;
  }

  async function live(process: number, acquisitions: number, occurrences = true): Promise<number> {
    const generations = new world.Generations(options(storeFor(process)));
    // Each clock has a setting of its own, and a rate within what the margin is for.
    const rate = 1 + (process - 1) * 0.01;
    const leaseMs = world.leases?.[process] ?? LEASE_MS;
    const clock = (): number => time * rate + process * 1e7;
    let granted = 0;
    for (let n = 0; n < acquisitions * TRIES && granted < acquisitions; n += 1) {
      const occurrence: OccurrenceRequest | undefined =
        !occurrences || draw() < 300 ? undefined : { at: new Date(900_000 + n), attempts: 1 + (n % 2) };
      let sentAt = clock();
      const quit = new AbortController();
      if (draw() < 200) patience.set(process, { left: 1 + (draw() % 40), quit });
      const ignorePause = !occurrences || draw() < 100;
      const pausedBefore = ignorePause ? undefined : pause;
      const holder = { host: 'sim', pid: process };
      const knownBefore = forgotten;
      const request = { name: 'job', owner: `${process}-${n}`, leaseMs, holder, occurrence, ignorePause };
      const result = await generations.tryAcquire(request, quit.signal).catch((error: unknown) => {
        if (error !== quit.signal.reason && !(error instanceof Trouble)) throw error;
      });
      patience.delete(process);
      if (result?.acquired !== true) continue;
      granted += 1;
      if (pausedBefore !== undefined && pausedBefore === pause) throw new Violation('a lock was granted that was paused before');
      if (world.trust === 'from the response') sentAt = clock();
      const trust: Trust = { process, clock, until: trustedUntil(sentAt, leaseMs, MARGIN_MS) };
      /** As the core does it: an answer that it does not get is asked for again while the lease is trusted. */
      const giveBack = async (outcome: Outcome): Promise<boolean | 'unknown'> => {
        for (let retry = 0; ; retry += 1) {
          const release = (): Promise<boolean | 'unknown'> =>
            generations.release(result.grant, outcome).catch(() => 'unknown' as const);
          // A caller that gave one up comes again while that is under way, and either may be told that the other one was faster.
          const answers = await Promise.all(world.slow === true && draw() < 300 ? [release(), release()] : [release()]);
          const answer = answers.find((one) => one !== false) ?? false;
          // After an unknown one, that it is not ours may be the echo of its success.
          if (answer === false && retry > 0) return 'unknown';
          if (answer !== 'unknown' || clock() >= trust.until || retry === 5) return answer;
        }
      };
      if (clock() >= trust.until) {
        await giveBack({ result: 'abandoned' });
        continue;
      }
      sightings.grants += 1;
      if (lastFence > 0n && released.get(lastFence) !== true) sightings.takeovers += 1;
      trusting.add(trust);
      checkTrust(result.grant);
      if (occurrence !== undefined && knownBefore === forgotten) {
        const count = (starts.get(occurrence.at.getTime()) ?? 0) + 1;
        starts.set(occurrence.at.getTime(), count);
        if (done.has(occurrence.at.getTime())) throw new Violation(`occurrence ${n} was started again after it was done`);
        if (count > occurrence.attempts) throw new Violation(`occurrence ${n} was started ${count} times`);
      }
      for (let renewals = draw() % 6; renewals > 0; renewals -= 1) {
        for (let work = draw() % 25; work > 0; work -= 1) {
          await alive(step(process), process);
          checkTrust();
        }
        const renewedAt = clock();
        const isOver = isSpent(result.grant.fence, leaseMs);
        // Undefined: it was not confirmed, and the clock decides.
        const renewed = await generations.renew(result.grant).catch(() => undefined);
        if (renewed === false && clock() < trust.until && highestStart < result.grant.fence)
          throw new Violation('a holder was told by a renewal that it had lost the lock');
        if (renewed === true && isOver) throw new Violation('a lease was renewed whose time was over');
        if (renewed === false) break;
        if (renewed === undefined) continue;
        if (clock() < trust.until || world.trust === 'extends after the deadline') {
          trust.until = Math.max(trust.until, trustedUntil(renewedAt, leaseMs, MARGIN_MS));
        }
        checkTrust();
        if (clock() >= trust.until) break;
      }
      const trusted = clock() < trust.until;
      trusting.delete(trust);
      released.set(result.grant.fence, trusted);
      const outcome = trusted ? ({ result: 'done' } as const) : ({ result: 'failed', error: 'lost' } as const);
      const answer = await giveBack(outcome);
      if (answer === true && trusted && occurrence !== undefined && knownBefore === forgotten) done.add(occurrence.at.getTime());
      if (answer === false && clock() < trust.until && highestStart < result.grant.fence)
        throw new Violation('a holder was told by its own release that it had lost the lock');
    }
    return granted;
  }

  /** Forgets the lock, again and again. */
  async function forget(process: number): Promise<void> {
    const generations = new world.Generations(options(storeFor(process)));
    for (let n = 0; n < FORGETS; n += 1) {
      for (let rest = draw() % 60; rest > 0; rest -= 1) await alive(step(process), process);
      const isGone = await generations.forget('job', { untouchedForMs: 0 }, never).catch(() => false);
      if (isGone) sightings.forgotten += 1;
    }
  }

  /** Pauses the lock for a while, again and again. */
  async function stop(process: number): Promise<void> {
    const generations = new world.Generations(options(storeFor(process)));
    for (let n = 0; n < PAUSES; n += 1) {
      for (let rest = draw() % 90; rest > 0; rest -= 1) await alive(step(process), process);
      const made = await generations.pause('job', { forMs: 1e9, by: 'sim' }, never).catch(() => undefined);
      if (made === undefined) continue;
      pause = {};
      sightings.pauses += 1;
      for (let work = draw() % 30; work > 0; work -= 1) await alive(step(process), process);
      pause = undefined;
      while ((await generations.resume('job', never).catch(() => undefined)) === undefined);
    }
  }

  const options = (store: FileStore): GenerationsOptions => ({
    store,
    keyOf: (name) => name,
    floorKey: '~all',
    durable: () => world.slow === true,
  });

  const ends: (() => void)[] = [];
  const fleet = Array.from({ length: world.operators === true ? PROCESSES + OPERATORS : PROCESSES }, (_, process) => {
    const died = new Promise<void>((resolve) => {
      ends[process] = resolve;
    });
    const life =
      process < PROCESSES ? live(process, ACQUISITIONS) : process < PROCESSES + OPERATORS - 1 ? forget(process) : stop(process);
    return Promise.race([life, died]);
  });
  await scheduler.waitFor(Promise.all(fleet));

  // Whatever was left behind, it ends with its lease; a few tries, for the newcomer too may be paused.
  time += UNREADABLE_MS + 2 * (LEASE_MS + world.granularityMs);
  const newcomer = PROCESSES + OPERATORS;
  pause = undefined;
  const died = new Promise<number>((resolve) => {
    ends[newcomer] = () => resolve(1);
  });
  const granted = await scheduler.waitFor(Promise.race([live(newcomer, 3, false), died]));
  if (granted === 0) throw new Violation('the lock is blocked for ever');
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

class Crash extends Error {}
