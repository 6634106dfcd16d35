import { getEventListeners } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { LeaseLostError, OptionError, ProviderError, type Election, type Solo, type Term } from '../src/index.ts';
import {
  createStage,
  deferred,
  listen,
  mustAcquire,
  names,
  pass,
  rejection,
  settle,
  silence,
  timersLeft,
  useFakeTime,
  watch,
} from './stage.ts';

useFakeTime();

interface Candidate {
  readonly election: Election;
  readonly terms: Term[];
  readonly deposed: unknown[];
}

/** Campaigns, and notes down its terms and how they ended. */
function campaign(solo: Solo): Candidate {
  const terms: Term[] = [];
  const deposed: unknown[] = [];
  const election = solo.elect('clock', {
    onElected: (term) => void terms.push(term),
    onDeposed: (reason) => void deposed.push(reason),
  });
  return { election, terms, deposed };
}

describe('an election', () => {
  it('has one winner at a time, whose term lasts', async () => {
    const { replica } = createStage();
    const candidates = [campaign(replica()), campaign(replica()), campaign(replica())] as const;
    await pass(600_000);
    expect(candidates.map(({ terms }) => terms.length)).toEqual([1, 0, 0]);
    expect(candidates.map(({ election }) => election.isLeader())).toEqual([true, false, false]);
    expect(candidates[0].terms[0]).toMatchObject({ name: 'clock', fence: 1n });
    expect(candidates[0].terms[0]!.signal.aborted).toBe(false);
    expect(candidates[0].terms[0]!.checkpoint()).toBeUndefined();
  });

  it('has its winner know about it as soon as it is told', async () => {
    const solo = createStage().replica();
    const knew: boolean[] = [];
    const election = solo.elect('clock', { onElected: () => void knew.push(election.isLeader()) });
    await settle();
    expect(knew).toEqual([true]);
  });

  it('stops: the term ends, the lock is given back, and another wins at once', async () => {
    const { provider, replica } = createStage();
    const [first, second] = [campaign(replica()), campaign(replica())];
    await settle();
    const stopping = watch(first.election.stop());
    await settle();
    expect(stopping.state).toBe('resolved');
    expect(first.deposed).toMatchObject([{ code: 'SOLORUN_STOPPED' }]);
    expect(first.terms[0]!.signal.reason).toBe(first.deposed[0]);
    expect(second.election.isLeader()).toBe(true);
    await second.election.stop();
    await pass(60_000);
    expect(first.election.isLeader()).toBe(false);
    expect(await provider.inspect('clock')).toMatchObject({ held: false });
    expect(await timersLeft()).toBe(0);
  });

  it.each(['onElected', 'onDeposed'] as const)(
    'gives the lock back only after both callbacks have settled, %s last',
    async (last) => {
      const { provider, replica } = createStage();
      const settles = { onElected: deferred(), onDeposed: deferred() };
      const election = replica().elect('clock', {
        onElected: () => settles.onElected.promise,
        onDeposed: () => settles.onDeposed.promise,
      });
      await settle();
      const stopping = watch(election.stop());
      await pass(60_000);
      settles[last === 'onElected' ? 'onDeposed' : 'onElected'].resolve();
      await pass(60_000);
      expect(await provider.inspect('clock')).toMatchObject({ held: true });
      expect(stopping.state).toBe('pending');
      settles[last].resolve();
      await settle();
      expect(await provider.inspect('clock')).toMatchObject({ held: false });
      expect(stopping.state).toBe('resolved');
    },
  );

  it('is stopped by leaving its block', async () => {
    const { provider, replica } = createStage();
    {
      await using election = replica().elect('clock', { onElected: () => {} });
      await settle();
      expect(election.isLeader()).toBe(true);
    }
    expect(await provider.inspect('clock')).toMatchObject({ held: false });
  });

  it('may be stopped before it is won, and twice', async () => {
    const { replica } = createStage();
    await mustAcquire(replica(), 'clock');
    const candidate = campaign(replica());
    await pass(10_000);
    await Promise.all([candidate.election.stop(), candidate.election.stop()]);
    expect(candidate.terms).toEqual([]);
    expect(candidate.deposed).toEqual([]);
  });

  it('ends with the signal it was given, and leaves no listener on it', async () => {
    const caller = new AbortController();
    const { provider, replica } = createStage();
    const deposed: unknown[] = [];
    const election = replica().elect('clock', {
      signal: caller.signal,
      onElected: () => {},
      onDeposed: (reason) => void deposed.push(reason),
    });
    await settle();
    const reason = new Error('enough');
    caller.abort(reason);
    await settle();
    expect(deposed).toEqual([reason]);
    expect(election.isLeader()).toBe(false);
    expect(await provider.inspect('clock')).toMatchObject({ held: false });
    expect(getEventListeners(caller.signal, 'abort')).toHaveLength(0);
    expect(await timersLeft()).toBe(0);
  });

  it('does not begin with a signal that has aborted', async () => {
    const { replica, asked } = createStage();
    const election = replica().elect('clock', { signal: AbortSignal.abort(), onElected: () => expect.unreachable() });
    await settle();
    expect(asked('tryAcquire')).toBe(0);
    await election.stop();
    expect(await timersLeft()).toBe(0);
  });

  it('ends when the solo closes, which waits for it', async () => {
    const { provider, replica } = createStage();
    const solo = replica();
    const [leader, waiting] = [campaign(solo), campaign(solo)];
    await settle();
    await solo.close();
    expect([leader, waiting].map(({ deposed }) => deposed)).toMatchObject([[{ name: 'ClosedError' }], []]);
    expect(await provider.inspect('clock')).toMatchObject({ held: false });
    expect(await timersLeft()).toBe(0);
  });

  it('keeps its process alive', async () => {
    const { replica } = createStage();
    const timers = vi.spyOn(globalThis, 'setInterval');
    const candidate = campaign(replica());
    expect((timers.mock.results[0]!.value as NodeJS.Timeout).hasRef()).toBe(true);
    await candidate.election.stop();
    expect(await timersLeft()).toBe(0);
  });
});

describe('a term that is lost', () => {
  it('is told at once, and the campaign goes on', async () => {
    let reachable = true;
    const { replica } = createStage((sound) => ({
      renew: (grant, signal) => (reachable ? sound.renew(grant, signal) : silence()),
    }));
    const [first, second] = [campaign(replica()), campaign(replica())];
    await pass(60_000);
    reachable = false;
    await pass(28_499);
    expect(first.deposed).toEqual([]);
    await pass(10_000);
    expect(first.deposed).toHaveLength(1);
    expect(first.deposed[0]).toBeInstanceOf(LeaseLostError);
    expect(first.deposed[0]).toMatchObject({ reason: 'expired' });
    // Either may win, but there is one leader, and its fence is greater.
    const leaders = [first, second].filter(({ election }) => election.isLeader());
    expect(leaders).toHaveLength(1);
    expect(leaders[0]!.terms.at(-1)!.fence).toBeGreaterThan(first.terms[0]!.fence);
    reachable = true;
    await pass(60_000);
    expect([first, second].filter(({ election }) => election.isLeader())).toHaveLength(1);
  });

  it('is known to the leader by the clock, before any timer', async () => {
    const { replica, stall } = createStage();
    const { election, terms, deposed } = campaign(replica());
    await settle();
    stall(28_500);
    expect(election.isLeader()).toBe(false);
    expect(deposed).toHaveLength(1);
    expect(terms[0]!.remainingMs()).toBe(0);
  });

  it.each(Array.from({ length: 16 }, (_, turns) => turns))(
    'does not begin with a lease that is over, also if that ends %i turns after the grant',
    async (turns) => {
      const { replica, stall } = createStage();
      const solo = replica();
      let later = turns;
      const turn = (): void => {
        if ((later -= 1) < 0) stall(29_000);
        else queueMicrotask(turn);
      };
      const forget = solo.on('acquired', () => {
        forget();
        turn();
      });
      const remaining: number[] = [];
      const deposed: unknown[] = [];
      solo.elect('clock', {
        onElected: ({ remainingMs }) => void remaining.push(remainingMs()),
        onDeposed: (reason) => void deposed.push(reason),
      });
      await pass(60_000);
      expect(remaining.every((ms) => ms > 0)).toBe(true);
      // `onDeposed` is called for a term that began, and for no other.
      expect(deposed.length).toBe(remaining.length - 1);
    },
  );

  it('does not wait for a handler that does not heed it before saying so', async () => {
    const { replica } = createStage(() => ({ renew: async () => false }));
    const solo = replica();
    const told = listen(solo);
    const deposed: unknown[] = [];
    solo.elect('clock', { onElected: silence, onDeposed: (reason) => void deposed.push(reason) });
    await pass(10_000);
    expect(deposed).toMatchObject([{ reason: 'taken' }]);
    expect(names(told)).toEqual(['acquired', 'lost']);
  });
});

describe('resigning', () => {
  it('lets the other win', async () => {
    const { replica } = createStage();
    const [first, second] = [campaign(replica()), campaign(replica())];
    await settle();
    await first.election.resign();
    await settle();
    expect(first.deposed).toMatchObject([{ code: 'SOLORUN_RESIGNED' }]);
    expect([first.election.isLeader(), second.election.isLeader()]).toEqual([false, true]);
    await pass(1_000);
    await second.election.resign();
    await settle();
    expect([first.election.isLeader(), second.election.isLeader()]).toEqual([true, false]);
    expect(first.terms.map(({ fence }) => fence)).toEqual([1n, 3n]);
  });

  it('is quiet for whoever does not lead', async () => {
    const { replica } = createStage();
    const [first, second] = [campaign(replica()), campaign(replica())];
    await settle();
    await second.election.resign();
    expect(first.election.isLeader()).toBe(true);
  });

  it('does not end the campaign of a replica that is alone', async () => {
    const { election, terms } = campaign(createStage().replica());
    await settle();
    await election.resign();
    expect(election.isLeader()).toBe(false);
    await pass(500);
    expect(election.isLeader()).toBe(true);
    expect(terms).toHaveLength(2);
  });
});

describe('a leader that fails', () => {
  it('ends its term, tells of it, and campaigns again after a rest', async () => {
    const { provider, replica } = createStage();
    const solo = replica();
    const told = listen(solo);
    const broke = new Error('broke');
    const deposed: unknown[] = [];
    let terms = 0;
    solo.elect('clock', {
      onElected: async () => {
        terms += 1;
        if (terms < 3) throw broke;
      },
      onDeposed: (reason) => void deposed.push(reason),
    });
    vi.spyOn(Math, 'random').mockReturnValue(1);
    await settle();
    expect(deposed).toEqual([broke]);
    expect(told.at(-1)).toMatchObject({ event: 'failed', name: 'clock', error: broke });
    expect(await provider.inspect('clock')).toMatchObject({ held: false, lastError: 'broke' });
    await pass(499);
    expect(terms).toBe(1);
    await pass(1);
    expect(terms).toBe(2);
    // The rest grows with every failure in a row.
    await pass(999);
    expect(terms).toBe(2);
    await pass(1);
    expect(terms).toBe(3);
    await pass(60_000);
    expect(await provider.inspect('clock')).toMatchObject({ held: true });
    expect(names(told).filter((event) => event === 'failed')).toHaveLength(2);
  });

  it('may throw at once, and nothing at all', async () => {
    const solo = createStage().replica();
    const told = listen(solo);
    const election = solo.elect('clock', {
      onElected: () => {
        // oxlint-disable-next-line typescript/only-throw-error -- a user's code may
        throw undefined;
      },
    });
    await settle();
    expect(names(told)).toEqual(['acquired', 'released', 'failed']);
    await election.stop();
  });

  it('is told of once when its onDeposed throws as well', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { provider, replica } = createStage();
    const solo = replica();
    const told = listen(solo);
    const election = solo.elect('clock', {
      onElected: () => Promise.reject(new Error('broke')),
      onDeposed() {
        throw new Error('broke, too');
      },
    });
    await settle();
    expect(names(told)).toEqual(['acquired', 'released', 'failed']);
    expect(warned).toHaveBeenCalledOnce();
    expect(await provider.inspect('clock')).toMatchObject({ held: false });
    await election.stop();
  });

  it('is not told to have failed by rejecting after it was told to stop', async () => {
    const solo = createStage().replica();
    const told = listen(solo);
    const election = solo.elect('clock', {
      onElected: ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    });
    await settle();
    await election.stop();
    expect(names(told)).toEqual(['acquired', 'released']);
  });
});

describe('a campaign through an outage', () => {
  it('goes on even if the provider never answered yet', async () => {
    let down = true;
    const { replica, asked } = createStage((sound) => ({
      tryAcquire: (request, signal) => (down ? Promise.reject(new Error('ECONNREFUSED')) : sound.tryAcquire(request, signal)),
    }));
    const solo = replica();
    const told = listen(solo);
    const { election } = campaign(solo);
    await pass(60_000);
    expect(told[0]).toMatchObject({ event: 'unconfirmed', operation: 'acquire' });
    expect((told[0] as { error: unknown }).error).toBeInstanceOf(ProviderError);
    expect(asked('tryAcquire')).toBeLessThan(60);
    down = false;
    await pass(6_000);
    expect(election.isLeader()).toBe(true);
  });

  it('ends where it can never succeed, and says so', async () => {
    const { replica, asked } = createStage(() => ({ tryAcquire: () => Promise.reject(new OptionError('no such schema')) }));
    const { election } = campaign(replica());
    expect(await rejection(election.finished)).toBeInstanceOf(OptionError);
    expect(asked('tryAcquire')).toBe(1);
    await election.stop();
    expect(await timersLeft()).toBe(0);
  });
});
