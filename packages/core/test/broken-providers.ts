import { setTimeout as sleep } from 'node:timers/promises';
import { memory } from '../src/memory.ts';
import type { AcquireResult, Grant, LockProvider } from '../src/provider.ts';

/** Each makes one mistake that was shipped somewhere, on top of the memory provider, which makes none. */
export interface BrokenProvider {
  readonly says: string;
  /** The case of the contract that is there for it. */
  readonly caughtBy: string;
  readonly make: () => LockProvider;
}

const never = new AbortController().signal;

/** A broken copy of one verb on a provider that works. */
function broken(says: string, caughtBy: string, breakIt: (sound: LockProvider) => Partial<LockProvider>): BrokenProvider {
  return {
    says,
    caughtBy,
    make() {
      const sound = memory();
      return { ...sound, ...breakIt(sound) };
    },
  };
}

/** The grants of a provider, so that a broken verb can act on the holder of the name. */
function remembering(sound: LockProvider): { grants: Map<string, Grant>; tryAcquire: LockProvider['tryAcquire'] } {
  const grants = new Map<string, Grant>();
  return {
    grants,
    async tryAcquire(request, signal) {
      const result = await sound.tryAcquire(request, signal);
      if (result.acquired) grants.set(request.name, result.grant);
      return result;
    },
  };
}

export const brokenProviders: readonly BrokenProvider[] = [
  broken('releases whoever holds the name', 'does not release for somebody else', (sound) => {
    const { grants, tryAcquire } = remembering(sound);
    return { tryAcquire, release: (grant, outcome) => sound.release(grants.get(grant.name) ?? grant, outcome, never) };
  }),
  broken('hands out a fence twice', 'gives every acquisition of a name a greater fence, through releases and expiry', (sound) => ({
    async tryAcquire(request, signal) {
      const result = await sound.tryAcquire(request, signal);
      return result.acquired ? { acquired: true, grant: { ...result.grant, fence: (result.grant.fence + 1n) / 2n } } : result;
    },
  })),
  broken('renews whatever row has the name', 'renews for the owner alone', (sound) => {
    const { grants, tryAcquire } = remembering(sound);
    return { tryAcquire, renew: (grant) => sound.renew(grants.get(grant.name) ?? grant, never) };
  }),
  broken(
    'counts its deadline from the response and trusts it without asking',
    'does not renew a lease that somebody else has taken over',
    (sound) => {
      const deadlines = new Map<string, number>();
      return {
        async tryAcquire(request, signal) {
          const result = await sound.tryAcquire(request, signal);
          if (!result.acquired) return result;
          // A slow answer, as under load.
          if (request.leaseMs !== null && request.leaseMs < 1_000) await sleep(100);
          deadlines.set(request.owner, performance.now() + (request.leaseMs ?? 0));
          return result;
        },
        renew: async (grant) => performance.now() < (deadlines.get(grant.owner) ?? 0) || sound.renew(grant, never),
      };
    },
  ),
  broken(
    'renews a lease whose time is over while nobody has followed',
    'does not renew a lease whose time is over, also if nobody has followed',
    (sound) => ({
      async renew(grant, signal) {
        const record = await sound.inspect(grant.name);
        return record?.owner === grant.owner || (await sound.renew(grant, signal));
      },
    }),
  ),
  broken(
    'keeps the schedule of the last claim to itself',
    'tells who claims an occurrence which schedule claimed before',
    (sound) => ({
      async tryAcquire(request, signal) {
        const result = await sound.tryAcquire(request, signal);
        return result.acquired ? { acquired: true, grant: { ...result.grant, previousScheduleHash: undefined } } : result;
      },
    }),
  ),
  broken('keeps an occurrence by the time of its claim', 'marks the scheduled instant and not the time of the claim', (sound) => ({
    tryAcquire(request, signal) {
      const { occurrence } = request;
      if (occurrence === undefined || occurrence.at.getTime() > Date.now()) return sound.tryAcquire(request, signal);
      return sound.tryAcquire({ ...request, occurrence: { ...occurrence, at: new Date() } }, signal);
    },
  })),
  broken('drops the claim on success', 'runs an occurrence once: a late replica finds it done', (sound) => ({
    release: (grant, outcome) => sound.release(grant, outcome.result === 'done' ? { result: 'abandoned' } : outcome, never),
  })),
  broken(
    'keeps a grant that came after its caller gave up',
    'keeps nothing of a try that was given up while it was under way',
    (sound) => ({
      async tryAcquire(request, signal) {
        const result = await sound.tryAcquire(request, signal);
        await sleep(1);
        signal.throwIfAborted();
        return result;
      },
    }),
  ),
  broken(
    'says that it forgets signals, and keeps a listener on them',
    'forgets the signal of a call that has been answered, if it says that it does',
    (sound) => ({
      forgetsSignals: true,
      tryAcquire(request, signal) {
        signal.addEventListener('abort', () => {});
        return sound.tryAcquire(request, signal);
      },
    }),
  ),
  broken(
    'says that it forgets signals, and loses leases by one that it has joined',
    'forgets the signal of a call that has been answered, if it says that it does',
    (sound) => ({
      forgetsSignals: true,
      async tryAcquire(request, signal) {
        const result = await sound.tryAcquire(request, signal);
        return result.acquired ? { acquired: true, grant: { ...result.grant, lost: AbortSignal.any([signal]) } } : result;
      },
    }),
  ),
  broken('throws when the lock is busy', 'refuses a held name as a value that tells who holds it, and throws nothing', (sound) => ({
    async tryAcquire(request, signal) {
      const result = await sound.tryAcquire(request, signal);
      if (!result.acquired && result.reason === 'held') throw new Error('the lock is busy');
      return result;
    },
  })),
  broken('acquires in two steps, read and write', 'grants one name to exactly one of many who ask at once', (sound) => ({
    async tryAcquire(request, signal) {
      const record = await sound.inspect(request.name);
      await sleep(2);
      if (record?.held !== true) {
        const held = await sound.inspect(request.name);
        if (held?.held === true) await sound.release({ ...held, attempt: 1 }, { result: 'abandoned' }, never);
      }
      return sound.tryAcquire(request, signal);
    },
  })),
  broken('frees a lease a tenth too soon', 'frees a name when its lease runs out, and not before', (sound) => ({
    tryAcquire: (request, signal) =>
      sound.tryAcquire({ ...request, leaseMs: request.leaseMs === null ? null : request.leaseMs * 0.9 }, signal),
  })),
  broken('folds upper and lower case', 'keeps a name apart from every other, whatever characters it is made of', (sound) => ({
    tryAcquire: (request, signal) => sound.tryAcquire({ ...request, name: request.name.toLowerCase() }, signal),
    inspect: (name) => sound.inspect(name.toLowerCase()),
  })),
  broken('never runs out of attempts', 'gives a failed occurrence another attempt while one is left', (sound) => ({
    tryAcquire: (request, signal) =>
      sound.tryAcquire(
        request.occurrence === undefined ? request : { ...request, occurrence: { ...request.occurrence, attempts: 1_000 } },
        signal,
      ),
  })),
  broken('counts a run that never started', 'undoes the claim of a run that never started', (sound) => ({
    release: (grant, outcome) =>
      sound.release(grant, outcome.result === 'abandoned' ? { result: 'failed', error: 'abandoned' } : outcome, never),
  })),
  broken('runs an occurrence before its time', 'does not start an occurrence before its time, by its own clock', (sound) => ({
    async tryAcquire(request, signal): Promise<AcquireResult> {
      const result = await sound.tryAcquire(request, signal);
      return !result.acquired && result.reason === 'early'
        ? sound.tryAcquire({ ...request, occurrence: undefined }, signal)
        : result;
    },
  })),
  broken(
    'declares that it cannot do what it does: leases without end',
    'holds a lease without end, if it says that it can',
    (sound) => ({
      guarantees: { ...sound.guarantees, unbounded: false },
    }),
  ),
  broken(
    'declares what it does not do: waking its waiters',
    'wakes a waiter when the name comes free, if it says that it does',
    () => ({ untilFree: () => new Promise(() => {}) }),
  ),
  broken(
    'declares that it keeps no occurrences, and takes them all the same',
    'refuses an occurrence outright if it keeps none',
    (sound) => ({
      guarantees: { ...sound.guarantees, occurrences: false },
    }),
  ),
  broken('makes one name of many that start alike', 'lists the records whose names start as asked', (sound) => ({
    async *list(prefix = '') {
      for await (const record of sound.list(prefix.slice(0, -1))) yield record;
    },
  })),
  broken(
    'frees its leases when it closes and tells nobody',
    'tells whoever holds a lease when closing the provider frees it',
    (sound) => {
      const { grants, tryAcquire } = remembering(sound);
      return {
        tryAcquire,
        async close() {
          for (const grant of grants.values()) await sound.release(grant, { result: 'failed', error: 'closed' }, never);
        },
      };
    },
  ),
  broken('renews what was released', 'does not renew what was released, nor change how it ended', (sound) => ({
    renew: async (grant) => (await sound.renew(grant, never)) || (await sound.inspect(grant.name))?.owner === grant.owner,
  })),
  broken('inspects for a caller that is gone', 'reads no record for a caller that has given up', (sound) => ({
    inspect: (name) => sound.inspect(name),
  })),
  broken('examines for a caller that is gone', 'examines its server, if it can, and not for a caller that has given up', () => ({
    examine: async () => [],
  })),
  broken('lists for a caller that is gone', 'reads no record for a caller that has given up', (sound) => ({
    list: (prefix) => sound.list(prefix),
  })),
  broken(
    'answers a reader that gave up with an error of its connection',
    'lets a caller go that gives up while records are read',
    (sound) => ({
      async inspect(name, signal) {
        await sleep(1);
        if (signal?.aborted === true) throw new Error('the connection was closed');
        return sound.inspect(name);
      },
    }),
  ),
];
