import { afterEach, beforeEach, vi } from 'vitest';
import {
  createSolo,
  type ClaimOptions,
  type Lease,
  type LockProvider,
  type Solo,
  type SoloEventName,
  type SoloEvents,
  type SoloOptions,
} from '../src/index.ts';
import { memory } from '../src/memory.ts';

/** When every test begins, by the provider's clock. */
export const start = new Date('2026-01-02T03:00:00Z');

/** An instant so many seconds after (or before) the test began. */
export const at = (seconds: number): Date => new Date(start.getTime() + seconds * 1_000);

/** Stops the clocks for each test of a file: time passes only when the test lets it. Promises go on as ever. */
export function useFakeTime(): void {
  beforeEach(() => {
    vi.useFakeTimers({
      now: start,
      toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'],
    });
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
}

/** Timers that are still set once those had their turn that were left to fire because it costs less than clearing them. */
export async function timersLeft(): Promise<number> {
  await vi.advanceTimersByTimeAsync(60_000);
  return vi.getTimerCount();
}

/** Lets time pass, with all that is due in it. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** Lets everything happen that needs no time. */
export const settle = (): Promise<void> => pass(0);

interface Call {
  readonly verb: 'tryAcquire' | 'renew' | 'release' | 'untilFree' | 'close';
  readonly atMs: number;
  readonly detail?: unknown;
}

export interface Stage {
  readonly provider: LockProvider;
  /** The calls of the provider, in order. */
  readonly calls: Call[];
  /** How often it was asked. */
  readonly asked: (verb: Call['verb']) => number;
  /** A solo of one more replica, with a provider of its own on the same store. Its leases last 30 s, of which 28.5 are trusted. */
  readonly replica: (options?: Partial<SoloOptions>) => Solo;
  /** The clocks go on and no timer fires, as when the event loop is stalled or the process stopped. */
  readonly stall: (ms: number) => void;
}

/** Replicas on one memory provider, some verbs of which the test may replace. */
export function createStage(replace: (sound: LockProvider) => Partial<LockProvider> = () => ({})): Stage {
  let stalledMs = 0;
  const calls: Call[] = [];
  const sound = memory({ now: () => Date.now() + stalledMs });
  const played: LockProvider = { ...sound, ...replace(sound) };
  const note = (verb: Call['verb'], detail?: unknown): void => void calls.push({ verb, atMs: performance.now(), detail });
  const provider: LockProvider = {
    ...played,
    tryAcquire(request, signal) {
      note('tryAcquire', request);
      return played.tryAcquire(request, signal);
    },
    renew(grant, signal) {
      note('renew', grant);
      return played.renew(grant, signal);
    },
    release(grant, outcome, signal) {
      note('release', outcome);
      return played.release(grant, outcome, signal);
    },
    untilFree(request, signal) {
      note('untilFree', request);
      return played.untilFree!(request, signal);
    },
    close() {
      note('close');
      return played.close();
    },
  };
  if (played.untilFree === undefined) delete provider.untilFree;
  return {
    provider,
    calls,
    asked: (verb) => calls.filter((call) => call.verb === verb).length,
    replica: (options = {}) =>
      createSolo({ provider: { ...provider }, clock: { now: () => performance.now() + stalledMs }, ...options }),
    stall(ms) {
      stalledMs += ms;
    },
  };
}

/** Kept to the end of the file: the warning of a lease that was garbage-collected would reach a later test, which may count warnings. */
const leases: Lease[] = [];

/** A lease by hand. */
export async function mustAcquire(solo: Solo, name = 'job'): Promise<Lease> {
  const lease = await solo.tryAcquire(name);
  if (lease === undefined) throw new Error(`${name} is held`);
  leases.push(lease);
  return lease;
}

/** A lease with an occurrence, as adapters take it. */
export async function mustClaim(solo: Solo, options: ClaimOptions = { occurrence: start }): Promise<Lease> {
  const claim = await solo.claim('job', options);
  if (!claim.acquired) throw new Error(claim.reason);
  return claim.lease;
}

/** A promise that the test settles. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export function deferred<T = void>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** A call that is never answered. */
export const silence = <T>(): Promise<T> => new Promise<T>(() => {});

const eventNames: readonly SoloEventName[] = [
  'acquired',
  'busy',
  'skipped',
  'lost',
  'released',
  'failed',
  'missed',
  'scheduleConflict',
  'drift',
  'unconfirmed',
  'stuck',
];

export type Told = { [E in SoloEventName]: { readonly event: E } & SoloEvents[E] }[SoloEventName];

/** Every event of a solo from now on. */
export function listen(solo: Solo): Told[] {
  const told: Told[] = [];
  for (const event of eventNames) solo.on(event, (detail) => told.push({ event, ...detail } as Told));
  return told;
}

/** The names of the events, in order. */
export const names = (told: readonly Told[]): SoloEventName[] => told.map(({ event }) => event);

/** The state of a promise so far; a rejection counts as handled. */
export function watch<T>(promise: Promise<T>): { state: 'pending' | 'resolved' | 'rejected'; value?: T; error?: unknown } {
  const seen: { state: 'pending' | 'resolved' | 'rejected'; value?: T; error?: unknown } = { state: 'pending' };
  promise.then(
    (value) => Object.assign(seen, { state: 'resolved', value }),
    (error: unknown) => Object.assign(seen, { state: 'rejected', error }),
  );
  return seen;
}

/** The error that a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('It was to reject and did not.');
}
