import { createSolo, type Lease, type LockProvider, type Solo } from '@solorun/core';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory, postgresLease } from '../src/index.ts';
import { acquired, asked, failureOf, never, onPostgres, until } from './server.ts';

const stage = onPostgres();
const solos: Solo[] = [];
afterEach(async () => {
  await Promise.allSettled(solos.splice(0).map((solo) => solo.close({ graceMs: 2_000 })));
});

/** Nothing here overlaps: what a server grants after a crash is another matter. */
const settled = (): LockProvider => postgresAdvisory({ connectionString: stage.server.url, settleMs: 0 });

function soloOn(provider = settled(), leaseMs: number | null = 20_000): Solo {
  const solo = createSolo({ provider: stage.open(provider), leaseMs });
  solos.push(solo);
  return solo;
}

const locksOf = async (): Promise<number> => {
  const [row] = await stage.sql("SELECT count(*)::text AS n FROM pg_locks WHERE locktype = 'advisory'");
  return Number(row?.['n']);
};
const holders = "SELECT DISTINCT l.pid FROM pg_locks l WHERE l.locktype = 'advisory'";

/** Rejections that nobody handles would take a real process down. */
function watchRejections(): unknown[] {
  const seen: unknown[] = [];
  const listener = (reason: unknown): void => void seen.push(reason);
  process.on('unhandledRejection', listener).on('uncaughtException', listener);
  onTestFinished(() => void process.off('unhandledRejection', listener).off('uncaughtException', listener));
  return seen;
}

async function fifty(solo: Solo): Promise<Lease[]> {
  const leases = await Promise.all(Array.from({ length: 50 }, (_, n) => solo.tryAcquire(`job ${n}`)));
  expect(leases.every((lease) => lease !== undefined)).toBe(true);
  return leases as Lease[];
}

describe('under 50 held leases', () => {
  const incidents: Record<string, () => Promise<void>> = {
    'the session is terminated': async () => {
      await stage.sql(`SELECT pg_terminate_backend(pid) FROM (${holders}) held`);
    },
    'the backend is killed with SIGKILL': async () => {
      const [held] = await stage.sql(holders);
      process.kill(Number(held!['pid']), 'SIGKILL');
    },
    'the server is restarted': () => stage.server.restart(),
    'the server is killed and started again': async () => {
      await stage.server.kill();
      await stage.server.start();
    },
  };

  it.each(Object.keys(incidents))(
    '%s: every signal aborts, nothing crashes, and locks work again by themselves',
    async (incident) => {
      const rejections = watchRejections();
      const solo = soloOn();
      const lost: string[] = [];
      solo.on('lost', ({ name }) => lost.push(name));
      const leases = await fifty(solo);
      expect(await locksOf()).toBe(50);
      const before = leases.map(({ fence }) => fence).reduce((a, b) => (a > b ? a : b));

      await incidents[incident]!();
      await until('every holder was told', () => leases.every(({ signal }) => signal.aborted));
      for (const { signal } of leases) expect(signal.reason).toMatchObject({ code: 'SOLORUN_LEASE_LOST', reason: 'session' });
      expect(lost).toHaveLength(50);

      // The server may need a moment until it takes connections again, and tells so.
      let again: Lease | undefined;
      await until('it works again', async () => {
        again = await solo.tryAcquire('job 7').catch(() => undefined);
        return again !== undefined;
      });
      expect(again!.fence).toBeGreaterThan(before);
      expect(await again!.release()).toBe(true);
      for (const lease of leases) await lease.release();
      await until('no lock is left', async () => (await locksOf()) === 0);
      expect(rejections).toEqual([]);
    },
  );

  it('lease rows live through a restart of the server: nobody is told anything, and nothing is lost', async () => {
    const rejections = watchRejections();
    const solo = soloOn(postgresLease({ connectionString: stage.server.url }), 6_000);
    const leases = await fifty(solo);
    await stage.server.restart();
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect(leases.filter(({ signal }) => signal.aborted)).toEqual([]);
    for (const lease of leases) expect(await lease.release()).toBe(true);
    expect(rejections).toEqual([]);
  });
});

describe('a session', () => {
  it('carries a thousand leases of one process, and one statement renews them', { timeout: 40_000 }, async () => {
    const solo = soloOn(undefined, 4_000);
    const leases = await Promise.all(Array.from({ length: 1_000 }, (_, n) => solo.tryAcquire(`many ${n}`)));
    expect(leases.every((lease) => lease !== undefined)).toBe(true);
    expect(await stage.sql(holders)).toHaveLength(1);
    expect(await stage.sql("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'solorun%'")).toHaveLength(1);
    // Over more than a lease.
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    expect(leases.filter((lease) => lease!.signal.aborted)).toEqual([]);
    await Promise.all(leases.map((lease) => lease!.release()));
    expect(await locksOf()).toBe(0);
  });

  it('is kept by its heartbeat, also while it holds nothing or a lease without end', async () => {
    const pids = async (): Promise<string> => {
      const rows = await stage.sql("SELECT pid::text FROM pg_stat_activity WHERE application_name LIKE 'solorun%' ORDER BY pid");
      return rows.map(({ pid }) => pid).join();
    };
    const provider = stage.open(settled());
    await provider.release(await acquired(provider, 'brief', { leaseMs: 600 }), { result: 'done' }, never);
    await acquired(provider, 'endless', { leaseMs: null });
    await until('the sessions of other tests have ended', async () => (await pids()).split(',').length === 2);
    const before = await pids();
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(await pids()).toBe(before);
  });

  it('tells in pg_stat_activity whose it is', async () => {
    const provider = stage.open(settled());
    await acquired(provider, 'silent', { leaseMs: 1_000 });
    const settings = await stage.sql(
      "SELECT application_name AS name FROM pg_stat_activity WHERE application_name LIKE 'solorun%'",
    );
    expect(settings).toEqual([{ name: 'solorun 4711@test.host tester' }]);
  });

  it('lets go of a lease that nobody renews, while it keeps those that somebody does', async () => {
    const provider = stage.open(settled());
    const other = stage.open(settled());
    const kept = await acquired(provider, 'kept', { leaseMs: 1_000 });
    await acquired(provider, 'forgotten', { leaseMs: 1_000 });
    const renewing = setInterval(() => void Promise.resolve(provider.renew(kept, never)).catch(() => {}), 250);
    onTestFinished(() => clearInterval(renewing));
    await until('it came free', async () => (await other.tryAcquire(asked('forgotten'), never)).acquired, 5_000);
    expect(await other.tryAcquire(asked('kept'), never)).toMatchObject({ reason: 'held' });
  });

  it('does not keep a process alive that has forgotten to close', async () => {
    const { start } = await import('./programs.ts');
    expect(await start('forgets-to-close', [stage.server.url])).toBe(0);
  });
});

describe('the cap', () => {
  it('is told of by our own error, before the server knows', async () => {
    const solo = soloOn(postgresAdvisory({ connectionString: stage.server.url, maxLocks: 20, settleMs: 0 }));
    for (let n = 0; n < 20; n += 1) await solo.acquire(`capped ${n}`, { waitMs: 0 });
    await expect(solo.tryAcquire('one more')).rejects.toThrow(/20 locks already, and maxLocks is 20.*postgresLease/s);
    expect(await locksOf()).toBe(20);
  });

  it('leaves room in the lock table of a small server for those who connect and read', { timeout: 60_000 }, async () => {
    const { startPostgres } = await import('@solorun/servers/postgres');
    const small = await startPostgres({ settings: { max_connections: 20, max_locks_per_transaction: 32 } });
    onTestFinished(() => small.stop());
    const provider = postgresAdvisory({ connectionString: small.url });
    let held = 0;
    const fill = async (): Promise<void> => {
      for (; held < 3_000; held += 1) await provider.tryAcquire(asked(`small ${held}`), never);
    };
    const refused = await failureOf(fill());
    expect(String(refused)).toMatch(/lock table of the server is nearly full/);
    expect(held).toBeGreaterThan(600);
    const { default: pg } = await import('pg');
    const client = new pg.Client({ connectionString: small.url });
    await client.connect();
    expect((await client.query('SELECT count(*) FROM pg_class')).rows).toHaveLength(1);
    await client.end();
    await provider.close();
  });
});
