import type { AcquireRequest, Outcome } from '@solorun/core';
import { describe, expect, it } from 'vitest';
import { Holding } from '../src/advisory/holdings.ts';
import { LAG_MS, Ledger } from '../src/advisory/ledger.ts';
import type { LockSession } from '../src/advisory/session.ts';
import { until } from './server.ts';

interface Written {
  readonly name: string;
  readonly fence: string;
  readonly held: boolean;
  readonly result?: string;
  readonly error?: string;
}

/** Mocked: a table that takes what it is told to. */
function stage(answer: (rows: readonly Written[], call: number) => readonly number[] = () => []) {
  const calls: (readonly Written[])[] = [];
  const told: string[] = [];
  const ledger = new Ledger(
    async (rows) => {
      calls.push(rows as Written[]);
      return answer(rows as Written[], calls.length);
    },
    (message) => told.push(message),
  );
  return { ledger, calls, told };
}

const on = { session: { pid: 7 }, lost: new AbortController().signal } as unknown as LockSession;

function holding(name: string, fence: bigint, ended?: Outcome): Holding {
  const request: AcquireRequest = { name, owner: `${name} ${fence}`, leaseMs: 1_000, holder: { host: 'h', pid: 1 } };
  const one = new Holding(request, { lock: '1', guard: '2' }, fence, on);
  if (ended !== undefined) one.end(ended);
  return one;
}

const done: Outcome = { result: 'done' };
const failed: Outcome = { result: 'failed', error: 'it broke' };
const shown = (rows: readonly Written[] | undefined): unknown =>
  rows?.map(({ name, fence, held, result, error }) => ({ name, fence, held, result, error }));

describe('the ledger', () => {
  it('writes the newest of each name once, with the newest result', async () => {
    const { ledger, calls } = stage();
    for (const one of [holding('a', 1n, failed), holding('a', 2n, done), holding('a', 3n), holding('b', 9n, failed)])
      ledger.note(one);
    await ledger.written();
    expect(calls).toHaveLength(1);
    expect(shown(calls[0])).toEqual([
      { name: 'a', fence: '3', held: true, result: 'done', error: undefined },
      { name: 'b', fence: '9', held: false, result: 'failed', error: 'it broke' },
    ]);
  });

  it('keeps the result of a run before one that was abandoned', async () => {
    const { ledger, calls } = stage();
    ledger.note(holding('a', 1n, failed));
    ledger.note(holding('a', 2n, { result: 'abandoned' }));
    await ledger.written();
    expect(shown(calls[0])).toEqual([{ name: 'a', fence: '2', held: false, result: 'failed', error: 'it broke' }]);
  });

  it('writes again what somebody else was just writing, and never an old one over a newer', async () => {
    const { ledger, calls } = stage((_, call) => {
      if (call > 1) return [];
      ledger.note(holding('a', 3n));
      return [0];
    });
    ledger.note(holding('a', 1n, failed));
    ledger.note(holding('a', 2n));
    await ledger.written();
    await until('all is written', () => calls.length > 1);
    expect(shown(calls[1])).toEqual([{ name: 'a', fence: '3', held: true, result: 'failed', error: 'it broke' }]);
  });

  it('goes on after an outage, and tells of it once, when it lasts', { timeout: 15_000 }, async () => {
    const { ledger, calls, told } = stage((_, call) => {
      if (call < 5) throw new Error('away');
      return [];
    });
    const one = holding('a', 1n, done);
    ledger.note(one);
    await until('it is written', () => calls.length >= 5 && one.written);
    expect(told).toEqual(['away']);
  });

  it('drops a row that can never be written, and says so, and writes the others', async () => {
    const { ledger, calls, told } = stage((rows) => {
      if (rows.some(({ name }) => name === 'bad')) throw Object.assign(new Error('a constraint of yours'), { code: '23514' });
      return [];
    });
    const good = [holding('a', 1n), holding('b', 1n)];
    for (const one of [good[0]!, holding('bad', 1n), good[1]!]) ledger.note(one);
    await ledger.written();
    expect(good.map(({ written }) => written)).toEqual([true, true]);
    expect(told).toEqual(['a constraint of yours']);
    await new Promise((resolve) => setTimeout(resolve, LAG_MS * 3));
    expect(calls).toHaveLength(4);
  });

  it('survives a listener that throws', async () => {
    let calls = 0;
    const ledger = new Ledger(
      async () => {
        calls += 1;
        throw Object.assign(new Error('no'), { code: '22000' });
      },
      () => {
        throw new Error('of the user');
      },
    );
    ledger.note(holding('a', 1n));
    await ledger.written();
    ledger.note(holding('a', 2n));
    await until('it goes on', () => calls > 1);
    expect(calls).toBe(2);
  });

  it('writes nothing after it was closed, and what was noted before', async () => {
    const { ledger, calls } = stage();
    ledger.note(holding('a', 1n, done));
    await ledger.close(new Promise(() => {}));
    expect(calls).toHaveLength(1);
    ledger.note(holding('a', 2n, done));
    await new Promise((resolve) => setTimeout(resolve, LAG_MS * 3));
    expect(calls).toHaveLength(1);
  });
});
