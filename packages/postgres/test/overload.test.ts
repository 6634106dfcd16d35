import { startProxy, type Proxy } from '@solorun/servers/network';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory, postgresLease } from '../src/index.ts';
import { acquired, asked, never, onPostgres, until } from './server.ts';

// A server that is slower than half the lease. Counted, not timed: what it is asked meanwhile and when it has healed.
const stage = onPostgres({ settings: { shared_preload_libraries: 'pg_stat_statements' } });
const both = [
  ['postgresAdvisory', postgresAdvisory],
  ['postgresLease', postgresLease],
] as const;
const LEASE_MS = 1_000;
/** Of a round trip, there and back. */
const SLOW_MS = 300;

async function proxied(): Promise<{ readonly proxy: Proxy; readonly connectionString: string }> {
  const proxy = await startProxy({ port: stage.server.port });
  onTestFinished(() => proxy.stop());
  return { proxy, connectionString: proxy.through(stage.server.url) };
}

async function statements(like = '%'): Promise<number> {
  const [row] = await stage.sql(
    "SELECT coalesce(sum(calls), 0)::text AS calls FROM pg_stat_statements WHERE query LIKE $1 AND query NOT LIKE '%pg_stat_statements%'",
    [like],
  );
  return Number(row!['calls']);
}

describe.each(both)('%s', (kind, open) => {
  it('waits for a slow answer, rather than giving up the connection and all that was asked on it', async () => {
    const { proxy, connectionString } = await proxied();
    const provider = stage.open(open({ connectionString }));
    const name = `${kind} slow`;
    await provider.release(await acquired(provider, name, { leaseMs: LEASE_MS }), { result: 'done' }, never);
    proxy.delay(SLOW_MS);
    for (let round = 0; round < 3; round += 1) {
      const grant = await acquired(provider, name, { leaseMs: LEASE_MS });
      expect(await provider.release(grant, { result: 'done' }, never)).toBe(true);
    }
    proxy.delay(0);
    await until('no other connection is left', () => proxy.open === 1);
  });

  it('works at once when the server has healed, and takes back what was given up in a few statements', async () => {
    await stage.sql('CREATE EXTENSION IF NOT EXISTS pg_stat_statements');
    const { proxy, connectionString } = await proxied();
    const provider = stage.open(open({ connectionString }));
    await provider.release(await acquired(provider, `${kind} warm`, { leaseMs: LEASE_MS }), { result: 'done' }, never);
    const names = Array.from({ length: 100 }, (_, n) => `${kind} given up ${n}`);
    const once = { leaseMs: LEASE_MS, occurrence: { at: new Date(0), attempts: 1 } };
    proxy.delay(SLOW_MS);
    await stage.sql('SELECT pg_stat_statements_reset()');
    // Three rounds of tries that are given up before their answers come.
    for (let round = 0; round < 3; round += 1) {
      const tries = names.map(async (name) => provider.tryAcquire(asked(name, once), AbortSignal.timeout(LEASE_MS / 2)));
      for (const { status } of await Promise.allSettled(tries)) expect(status).toBe('rejected');
    }
    proxy.delay(0);
    // There is one attempt of each occurrence, and none of them has begun.
    const results = await Promise.all(names.map(async (name) => provider.tryAcquire(asked(name, once), never)));
    expect(results.map(({ acquired: ours }) => ours)).toEqual(names.map(() => true));
    expect(await statements('%pg_terminate_backend%')).toBeLessThanOrEqual(2);
    expect(await statements()).toBeLessThan(60);
  });

  it('gives up tries that were never sent without a word to the server', async () => {
    await stage.sql('CREATE EXTENSION IF NOT EXISTS pg_stat_statements');
    const { proxy, connectionString } = await proxied();
    const provider = stage.open(open({ connectionString }));
    await provider.release(await acquired(provider, `${kind} warm`, { leaseMs: LEASE_MS }), { result: 'done' }, never);
    proxy.cut();
    const try1 = Promise.allSettled([
      provider.tryAcquire(asked(`${kind} sent`, { occurrence: { at: new Date(0), attempts: 1 }, leaseMs: LEASE_MS }), never),
    ]);
    await until('it is sent', () => proxy.chunks.up > 0);
    const others = Array.from({ length: 20 }, async (_, n) =>
      provider.tryAcquire(asked(`${kind} unsent ${n}`, { occurrence: { at: new Date(0), attempts: 1 }, leaseMs: LEASE_MS }), never),
    );
    const all = Promise.allSettled(others);
    await stage.sql('SELECT pg_stat_statements_reset()');
    proxy.breakAll();
    proxy.mend();
    await try1;
    await all;
    await acquired(provider, `${kind} sent`, { leaseMs: LEASE_MS });
    expect(await statements('%pg_terminate_backend%')).toBeLessThanOrEqual(1);
  });
});

describe('postgresLease', () => {
  it('renews through another connection in time when the one that it has is dead', async () => {
    const provider = stage.open(postgresLease({ connectionString: stage.server.url }));
    const grant = await acquired(provider, 'dead', { leaseMs: 4_000 });
    const [backend] = await stage.sql("SELECT pid::text FROM pg_stat_activity WHERE application_name = 'solorun'");
    process.kill(Number(backend!['pid']), 'SIGSTOP');
    onTestFinished(() => void process.kill(Number(backend!['pid']), 'SIGCONT'));
    // The one that was asked on it is lost with it, and the core asks again.
    const [first] = await Promise.allSettled([provider.renew(grant, never)]);
    expect(first).toMatchObject({
      status: 'rejected',
      reason: { message: expect.stringContaining('another connection') as unknown },
    });
    expect(await provider.renew(grant, never)).toBe(true);
  });
});
