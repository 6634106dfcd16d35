import { describe, expect, it } from 'vitest';
import type { Row, Statement } from '../src/server/client.ts';
import { Holdings } from '../src/advisory/holdings.ts';
import { LockSession } from '../src/advisory/session.ts';
import type { Session } from '../src/server/session.ts';
import { locksOf } from '../src/server/locks.ts';
import { statementsFor } from '../src/advisory/statements.ts';
import { never } from './server.ts';

/** Mocked: answers that a real server gives only in a moment that cannot be chosen. */
function mocked(answer: (statement: Statement) => Promise<readonly Row[]>): { session: Session; ended: () => unknown } {
  const loss = new AbortController();
  const session: Session = {
    pid: 100,
    since: '',
    version: 160_000,
    proxied: false,
    direct: true,
    lost: loss.signal,
    busy: false,
    sentAt: 0,
    answeredAt: 0,
    tookMs: 0,
    query: answer,
    inLine: (job) => job(answer),
    onNotification: () => {},
    destroy: (reason) => loss.abort(reason),
    end: async () => {},
  };
  return { session, ended: () => loss.signal.reason as unknown };
}

const statements = statementsFor('solorun', locksOf(false));
const terms = {
  kind: 'mocked',
  leaseMs: 60_000,
  statements,
  locks: locksOf(false),
  holdings: new Holdings(),
  schema: 'solorun',
  channel: 'x',
  bare: false,
  settlesInMs: () => 0,
  prepare: async () => true,
  lapsed: () => {},
  idleMs: Number.POSITIVE_INFINITY,
  onIdle: () => {},
};

describe('a heartbeat', () => {
  it.each([
    ['another backend', { pid: '101', standby: 'false' }, /moved to another backend/],
    ['a server that has become a standby', { pid: '100', standby: 'true' }, /hot standby/],
  ])('that comes back from %s ends the session and all its leases', async (_, row, message) => {
    const { session, ended } = mocked(async () => [{ ord: '0', ours: 'true', ...row }]);
    const on = new LockSession(session, terms);
    await expect(on.confirm({ name: 'x', owner: 'owner', fence: '1', written: true }, '1', never)).rejects.toThrow(message);
    expect(String(ended())).toMatch(message);
  });
});

describe('the end of a slice', () => {
  it.each([
    ['just after the lock was granted', 'true', 'guarded'],
    ['while it was not', 'false', undefined],
  ])('that strikes %s is not mistaken for the other', async (_, mine, granted) => {
    const { session } = mocked(async ({ text }) => {
      if (text.includes('pg_advisory_lock(')) throw Object.assign(new Error('canceling statement'), { code: '55P03' });
      return [{ mine }];
    });
    expect(await new LockSession(session, terms).block({ lock: '1', guard: '2' }, 10)).toBe(granted);
  });
});
