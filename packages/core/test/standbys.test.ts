import { expect, it, vi } from 'vitest';
import type { Held } from '../src/reports.ts';
import type { Terms } from '../src/settle.ts';
import { Standbys, type Standby } from '../src/standbys.ts';

const terms = (at: number): Terms => ({ name: 'job', fullName: 'job', occurrence: { at: new Date(at), attempts: 1 } }) as Terms;
const standby = (at: number) => ({ terms: terms(at), displace: vi.fn<Standby['displace']>() });

/** The occurrence that holds the name. */
const running = (at: number): Held => ({ acquired: false, reason: 'held', record: { occurrence: { at: new Date(at) } } }) as Held;

it('lets only standbys for the newest occurrence wait', () => {
  const standbys = new Standbys();
  const [older, newer] = [standby(2), standby(3)];
  expect(standbys.enter(older, running(1))).toBe(true);
  expect(standbys.enter(newer, running(1))).toBe(true);
  expect(older.displace).toHaveBeenCalledOnce();
  expect(standbys.enter(standby(2), running(1))).toBe(false);
});

it('displaces all that wait for one occurrence, also when one of them has left', () => {
  const standbys = new Standbys();
  const [first, second, third] = [standby(2), standby(2), standby(2)];
  for (const one of [first, second, third]) expect(standbys.enter(one, running(1))).toBe(true);
  standbys.leave(first);
  expect(standbys.enter(standby(3), running(1))).toBe(true);
  expect(first.displace).not.toHaveBeenCalled();
  expect(second.displace).toHaveBeenCalledOnce();
  expect(third.displace).toHaveBeenCalledOnce();
});

it('forgets an occurrence that nobody waits for any more', () => {
  const standbys = new Standbys();
  const only = standby(3);
  standbys.enter(only, running(1));
  standbys.leave(only);
  expect(standbys.enter(standby(2), running(1))).toBe(true);
});

it('does not displace a standby for the occurrence that runs by now', () => {
  const standbys = new Standbys();
  const one = standby(2);
  standbys.enter(one, running(1));
  expect(standbys.enter(one, running(2))).toBe(true);
  expect(standbys.enter(standby(3), running(2))).toBe(true);
  expect(one.displace).not.toHaveBeenCalled();
});
