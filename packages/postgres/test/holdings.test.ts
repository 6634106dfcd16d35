import type { AcquireRequest } from '@solorun/core';
import { expect, it } from 'vitest';
import { Holding, Holdings } from '../src/advisory/holdings.ts';
import type { LockSession } from '../src/advisory/session.ts';

/** Mocked: the table only compares sessions. */
const session = (): LockSession => ({ lost: new AbortController().signal }) as unknown as LockSession;

function holdingOn(on: LockSession, lock: string): Holding {
  const request: AcquireRequest = { name: lock, owner: 'owner', leaseMs: 1_000, holder: { host: 'h', pid: 1 } };
  return new Holding(request, { lock, guard: '0' }, 1n, on);
}

it('tells the acquisitions from locks that a waiter has got, and counts both on their session', () => {
  const holdings = new Holdings();
  const [a, b] = [session(), session()];
  const holding = holdingOn(a, '1');
  holdings.hold(a, '1', 100, holding);
  holdings.hold(b, '2', 100);
  expect([holdings.of('1'), holdings.of('2'), holdings.has('2')]).toEqual([holding, undefined, false]);
  expect([holdings.isOn(a, '1'), holdings.isOn(b, '1'), holdings.isOn(b, '2')]).toEqual([true, false, true]);
  expect([holdings.countOn(a), holdings.countOn(b), holdings.size]).toEqual([1, 1, 2]);
});

it('counts a lock once, on the session that got it last', () => {
  const holdings = new Holdings();
  const [a, b] = [session(), session()];
  holdings.hold(a, '1', 100);
  holdings.hold(a, '1', 100, holdingOn(a, '1'));
  expect(holdings.countOn(a)).toBe(1);
  holdings.hold(b, '1', 100);
  expect([holdings.countOn(a), holdings.countOn(b), holdings.size]).toEqual([0, 1, 1]);
  holdings.drop(a, '1');
  expect(holdings.isOn(b, '1')).toBe(true);
  holdings.drop(b, '1');
  expect([holdings.countOn(b), holdings.size]).toEqual([0, 0]);
});

it('finds the locks of one session whose time is over', () => {
  const holdings = new Holdings();
  const [a, b] = [session(), session()];
  for (const lock of ['1', '2', '3']) holdings.hold(a, lock, 100);
  holdings.hold(b, '4', 100);
  holdings.extend(a, '2', 200);
  holdings.extend(b, '1', 200);
  holdings.shorten(a, '3', 50);
  holdings.shorten(a, '3', 70);
  expect(holdings.lapsed(a, 60)).toEqual(['3']);
  expect(holdings.lapsed(a, 150)).toEqual(['1', '3']);
  expect(holdings.lapsed(session(), 150)).toEqual([]);
});

it('ends an acquisition, and forgets all locks of a session that is lost', () => {
  const holdings = new Holdings();
  const [a, b] = [session(), session()];
  const holding = holdingOn(a, '1');
  holdings.hold(a, '1', 100, holding);
  holdings.hold(a, '2', 100);
  holdings.hold(b, '3', 100);
  holdings.end(holding, { result: 'done' });
  expect([holding.isHeld, holdings.has('1'), holdings.countOn(a)]).toEqual([false, false, 1]);
  holdings.lost(a);
  expect([holdings.countOn(a), holdings.countOn(b), holdings.size]).toEqual([0, 1, 1]);
});

it('keeps nothing of a session that has ended', () => {
  const holdings = new Holdings();
  const ended = { lost: AbortSignal.abort() } as unknown as LockSession;
  holdings.hold(ended, '1', 100);
  expect([holdings.isOn(ended, '1'), holdings.size]).toEqual([false, 0]);
});
