import { faketimeMissing } from '@solorun/servers/clock';
import type { LockProvider } from '@solorun/core';
import { createSolo } from '@solorun/core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresLease } from '../src/index.ts';
import { acquired, asked, never, onPostgres, until } from './server.ts';

const missing = process.env['CI'] === 'true' ? undefined : faketimeMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: a Postgres whose clock is set back. Remedy: ${missing}\n`);

describe.runIf(missing === undefined)('lease rows on a server whose clock is set back by an hour', () => {
  const stage = onPostgres({ clockAheadMs: 3_600_000 });
  const leaseMs = 1_500;
  const open = (): LockProvider => stage.open(postgresLease({ connectionString: stage.server.url }));
  const due = { occurrence: { at: new Date(0), attempts: 2 } };

  /** A holder that is gone, with the clock as it was. */
  async function gone(name: string): Promise<void> {
    stage.server.setClock(3_600_000);
    await acquired(open(), name, { leaseMs, ...due });
    stage.server.setClock(0);
  }

  it('come free to a waiter that has seen them unchanged for a whole lease', async () => {
    await gone('waited for');
    const solo = createSolo({ provider: open(), leaseMs });
    onTestFinished(() => solo.close());
    const lease = await solo.acquire('waited for', { waitMs: 15_000 });
    expect(lease.fence).toBe(2n);
  });

  it('come free to a process that asks now and then, with the occurrence of the holder that is gone', async () => {
    await gone('asked for');
    const provider = open();
    const refusal = await provider.tryAcquire(asked('asked for', { leaseMs, ...due }), never);
    expect(refusal).toMatchObject({ reason: 'held', expiresInMs: leaseMs });
    expect(refusal.acquired || refusal.reason !== 'held' ? -1 : refusal.heldForMs).toBeGreaterThanOrEqual(0);
    const seen = performance.now();
    let attempt = 0;
    await until('it is free', async () => {
      const result = await provider.tryAcquire(asked('asked for', { leaseMs, ...due }), never);
      if (result.acquired) attempt = result.grant.attempt;
      return result.acquired;
    });
    expect(attempt).toBe(2);
    expect(performance.now() - seen).toBeGreaterThan(leaseMs * 0.9);
  });

  it('stay with a holder that renews, also if it does so late in the eyes of others', { timeout: 40_000 }, async () => {
    stage.server.setClock(3_600_000);
    const solo = createSolo({ provider: open(), leaseMs });
    onTestFinished(() => solo.close());
    const lease = await solo.acquire('renewed', { waitMs: 0 });
    stage.server.setClock(0);
    const other = open();
    const end = performance.now() + leaseMs * 3;
    while (performance.now() < end) {
      expect(await other.tryAcquire(asked('renewed', { leaseMs }), never)).toMatchObject({ reason: 'held' });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(lease.signal.aborted).toBe(false);
    expect(await lease.release()).toBe(true);
  });

  it('are taken over by one of many who have seen the same', async () => {
    await gone('taken over');
    const providers = Array.from({ length: 8 }, open);
    const all = (): Promise<boolean[]> =>
      Promise.all(providers.map(async (provider) => (await provider.tryAcquire(asked('taken over'), never)).acquired));
    let got: boolean[] = [];
    await until('one of them has it', async () => (got = await all()).includes(true));
    expect(got.filter(Boolean)).toHaveLength(1);
  });
});
