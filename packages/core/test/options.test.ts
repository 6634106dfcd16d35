import { describe, expect, it } from 'vitest';
import {
  createSolo,
  MAX_NAME_LENGTH,
  OptionError,
  UnsupportedError,
  type Guarantees,
  type LockProvider,
  type Solo,
  type SoloOptions,
} from '../src/index.ts';
import { memory } from '../src/memory.ts';
import { rejection } from './stage.ts';

interface Untouched extends LockProvider {
  readonly tries: () => number;
}

/** A provider that would tell if it were asked. */
function untouched(guarantees: Partial<Guarantees> = {}): Untouched {
  const sound = memory();
  let tries = 0;
  return {
    ...sound,
    guarantees: { ...sound.guarantees, ...guarantees },
    tryAcquire(request, signal) {
      tries += 1;
      return sound.tryAcquire(request, signal);
    },
    tries: () => tries,
  };
}

const handler = (): void => {};

describe('a solo is refused', () => {
  it.each<[string, object | undefined]>([
    ['without options', undefined],
    ['without a provider', {}],
    ['with something else for a provider', { provider: { kind: 'memory' } }],
    ['with a slash in its namespace', { provider: memory(), namespace: 'a/b' }],
    ['with half a character in its namespace', { provider: memory(), namespace: 'a\uD800' }],
    ['with a namespace of 101 characters', { provider: memory(), namespace: 'x'.repeat(101) }],
    ['with a namespace that is no string', { provider: memory(), namespace: null }],
    ['with leaseMs: 0', { provider: memory(), leaseMs: 0 }],
    ['with leaseMs: -1', { provider: memory(), leaseMs: -1 }],
    ['with leaseMs: NaN', { provider: memory(), leaseMs: Number.NaN }],
    ['with leaseMs: Infinity, which is null', { provider: memory(), leaseMs: Number.POSITIVE_INFINITY }],
    ['with a lease as a string', { provider: memory(), leaseMs: '30000' }],
    ['with a lease longer than a timer', { provider: memory(), leaseMs: 2 ** 31 }],
    ['with a lease shorter than the provider can keep', { provider: untouched({ minLeaseMs: 1_000 }), leaseMs: 999 }],
    ['with a negative margin', { provider: memory(), marginMs: -1 }],
    ['with a margin of half the lease', { provider: memory(), leaseMs: 1_000, marginMs: 500 }],
    ['with callTimeoutMs: 0', { provider: memory(), callTimeoutMs: 0 }],
    ['with callTimeoutMs: NaN', { provider: memory(), callTimeoutMs: Number.NaN }],
  ])('%s', (_, options) => {
    expect(() => createSolo(options as SoloOptions)).toThrow(OptionError);
  });

  it('with a lease that its provider cannot keep', () => {
    expect(() => createSolo({ provider: untouched({ unbounded: false }), leaseMs: null })).toThrow(UnsupportedError);
    expect(() => createSolo({ provider: untouched({ expiry: false }) })).toThrow(/give leaseMs: null/);
    expect(() => createSolo({ provider: untouched({ expiry: false }), leaseMs: null })).not.toThrow();
  });

  it('but not with what is at the edge', () => {
    for (const options of [
      { namespace: '🔒'.repeat(100) },
      { namespace: '' },
      { leaseMs: 1 },
      { leaseMs: 2 ** 31 - 1 },
      { leaseMs: 1_000, marginMs: 499 },
      { marginMs: 0 },
    ]) {
      expect(() => createSolo({ provider: memory(), ...options })).not.toThrow();
    }
  });
});

describe('a name', () => {
  it.each<[string, string]>([
    ['one character', 'x'],
    ['500 characters', 'x'.repeat(500)],
    ['500 emoji', '🔒'.repeat(500)],
    ['slashes and dots', '../../etc/passwd'],
    ['quotes, blanks and line ends', `'; DROP TABLE job; --\n"\t`],
    ['the character zero', '\0'],
    ['blanks alone', '   '],
    ['the name of a property of all objects', '__proto__'],
    ['right to left and combining', 'مهمة e\u0301'],
  ])('may be %s', async (_, name) => {
    const solo = createSolo({ provider: memory(), namespace: 'ns' });
    expect(await solo.run(name, () => 'ran')).toMatchObject({ value: 'ran' });
    expect(await solo.inspect(name)).toMatchObject({ name });
  });

  it('has at most 500 characters, and says so', () => {
    expect(MAX_NAME_LENGTH).toBe(500);
  });

  const bad: [string, unknown][] = [
    ['empty', ''],
    ['501 characters long', 'x'.repeat(501)],
    ['501 emoji long', '🔒'.repeat(501)],
    ['the first half of a character', 'a\uD83D'],
    ['the second half of a character', '\uDD12a'],
    ['the halves of a character the wrong way round', '\uDD12\uD83D'],
    ['no string', 42],
    ['missing', undefined],
    ['null', null],
  ];

  it.each(bad)('that is %s is refused by every verb, before anybody is asked', async (_, given) => {
    const provider = untouched();
    const solo = createSolo({ provider });
    const name = given as string;
    for (const refused of [
      solo.run(name, handler),
      solo.tryAcquire(name),
      solo.acquire(name, { waitMs: 1 }),
      solo.claim(name),
      solo.inspect(name),
    ]) {
      expect(await rejection(refused)).toBeInstanceOf(OptionError);
    }
    expect(() => solo.elect(name, { onElected: handler })).toThrow(OptionError);
    expect(() => solo.singleton(name, handler)).toThrow(OptionError);
    expect(provider.tries()).toBe(0);
  });

  it('is not shown in full by the error that it is too long', async () => {
    const error = await rejection(createSolo({ provider: memory() }).tryAcquire('x'.repeat(10_000)));
    expect((error as Error).message).toContain('has 10000 characters; 500 are allowed');
    expect((error as Error).message.length).toBeLessThan(200);
  });
});

describe('a run is refused, before anybody is asked,', () => {
  const occurrence = new Date();
  const bad: [string, object][] = [
    ['with options that are none', 'skip' as unknown as object],
    ['with null for options', null as unknown as object],
    ['with a lease of no length', { leaseMs: 0 }],
    ['with a policy that does not exist', { onBusy: 'queue' }],
    ['with a wait that does not say how long', { onBusy: 'wait' }],
    ['with a negative wait', { onBusy: 'wait', waitMs: -1 }],
    ['with a wait of NaN', { onBusy: 'wait', waitMs: Number.NaN }],
    ['with a wait as a string', { onBusy: 'wait', waitMs: '10' }],
    ['with retries that make no sense', { onBusy: 'retry', retry: { retries: -1 } }],
    ['when it stands by for nothing', { onBusy: 'standby' }],
    ['with no attempts', { occurrence, attempts: 0 }],
    ['with half an attempt', { occurrence, attempts: 1.5 }],
    ['with attempts of nothing', { attempts: 2 }],
    ['with an occurrence that is no date', { occurrence: '2026-01-02T03:00:00Z' }],
    ['with a number for an occurrence', { occurrence: 1_767_322_800_000 }],
    ['with an invalid date', { occurrence: new Date('never') }],
    ['with an occurrence that turns out to be none', { occurrence: () => 42 }],
    ['with maxRunMs: 0', { maxRunMs: 0 }],
    ['with maxRunMs: Infinity', { maxRunMs: Number.POSITIVE_INFINITY }],
    ['with a negative grace', { graceMs: -1 }],
    ['with something else for a signal', { signal: {} }],
  ];

  it.each(bad)('%s', async (_, options) => {
    const provider = untouched();
    const error = await rejection(createSolo({ provider }).run('job', handler, options));
    expect(error).toBeInstanceOf(OptionError);
    expect(error).toMatchObject({ code: 'SOLORUN_OPTION' });
    expect(provider.tries()).toBe(0);
  });

  it('with a margin that leaves too little of its own lease', async () => {
    const provider = untouched();
    for (const solo of [
      createSolo({ provider, leaseMs: 30_000, marginMs: 5_000 }),
      createSolo({ provider, leaseMs: null, marginMs: 5_000 }),
    ]) {
      expect(await rejection(solo.run('job', handler, { leaseMs: 4_000 }))).toBeInstanceOf(OptionError);
    }
    expect(provider.tries()).toBe(0);
  });

  it('without a handler', async () => {
    const provider = untouched();
    const solo = createSolo({ provider });
    expect(await rejection(solo.run('job', undefined as never))).toBeInstanceOf(OptionError);
    expect(() => solo.singleton('job', 'handler' as never)).toThrow(OptionError);
    expect(() => solo.elect('job', {} as never)).toThrow(OptionError);
    expect(provider.tries()).toBe(0);
  });

  it('with an occurrence where the provider keeps none, and says what that means', async () => {
    const provider = untouched({ occurrences: false });
    const error = await rejection(createSolo({ provider }).run('job', handler, { occurrence }));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect((error as Error).message).toContain(`cannot tell whether "job" already ran at ${occurrence.toISOString()}`);
    expect(provider.tries()).toBe(0);
  });

  it('with a lease without end where there is none', async () => {
    const provider = untouched({ unbounded: false });
    expect(await rejection(createSolo({ provider }).run('job', handler, { leaseMs: null }))).toBeInstanceOf(UnsupportedError);
  });
});

describe('other verbs refuse', () => {
  const verbs: [string, (solo: Solo) => Promise<unknown>][] = [
    ['a wait that does not say how long', (solo) => solo.acquire('job', {} as never)],
    ['a wait without options', (solo) => solo.acquire('job', undefined as never)],
    ['a lease of no length', (solo) => solo.tryAcquire('job', { leaseMs: 0 })],
    ['a claim that may be early for NaN', (solo) => solo.claim('job', { maxEarlyMs: Number.NaN })],
    ['a claim that may be early for less than nothing', (solo) => solo.claim('job', { maxEarlyMs: -1 })],
    ['a run that may be early for NaN', (solo) => solo.run('job', () => {}, { maxEarlyMs: Number.NaN })],
    ['a claim of an invalid date', (solo) => solo.claim('job', { occurrence: new Date('never') })],
  ];

  it.each(verbs)('%s', async (_, verb) => {
    const provider = untouched();
    expect(await rejection(verb(createSolo({ provider })))).toBeInstanceOf(OptionError);
    expect(provider.tries()).toBe(0);
  });

  it('to explain a lease that cannot be', () => {
    expect(() => createSolo({ provider: memory() }).explain({ leaseMs: -1 })).toThrow(OptionError);
  });
});

describe('what a solo was told', () => {
  it('holds unless a call says otherwise', async () => {
    const provider = memory();
    const solo = createSolo({ provider, leaseMs: 60_000 });
    const [own, other] = [await solo.tryAcquire('own'), await solo.tryAcquire('other', { leaseMs: 10_000 })];
    expect(own!.remainingMs()).toBeGreaterThan(50_000);
    expect(other!.remainingMs()).toBeLessThan(10_000);
    await solo.close();
  });

  it('cannot be changed afterwards by changing a date', async () => {
    const occurrence = new Date(0);
    const solo = createSolo({ provider: memory() });
    const run = solo.run('job', ({ occurrence: seen }) => seen?.at.getTime(), { occurrence });
    occurrence.setTime(1);
    expect(await run).toMatchObject({ value: 0 });
  });
});
