import type { LockProvider } from '@solorun/core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory, schemaSql, type PostgresAdvisoryOptions } from '../src/index.ts';
import type { Beginning } from '../src/advisory/beginning.ts';
import { Settling } from '../src/advisory/settling.ts';
import { acquired, asked, never, onPostgres, until } from './server.ts';

const stage = onPostgres();
const heard: string[] = [];

/** A process of its own, as far as the server can tell. */
function open(more: Partial<PostgresAdvisoryOptions> = {}): LockProvider {
  const onWarning = (message: string): void => void heard.push(message);
  return stage.open(postgresAdvisory({ connectionString: stage.server.url, onWarning, ...more }));
}

async function crash(): Promise<void> {
  await stage.server.kill();
  await stage.server.start();
}

const upMs = async (): Promise<number> => {
  const [row] = await stage.sql('SELECT (extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) * 1000)::text AS up');
  return Number(row!['up']);
};

const settling = { acquired: false, reason: 'held', settling: true };
const once = { occurrence: { at: new Date(0), attempts: 1 } };

describe('a server that has come back after a crash', () => {
  it('grants nothing for the length of the lease, also to processes that are not the first to ask', async () => {
    await acquired(open(), 'crash');
    await crash();
    heard.length = 0;
    const [first, second] = [open(), open()];
    for (const provider of [first, second]) {
      const refusal = await provider.tryAcquire(asked('crash'), never);
      expect(refusal).toMatchObject({ ...settling, expiresInMs: expect.any(Number) as number });
      if (refusal.acquired || refusal.reason !== 'held') throw new Error('expected: held');
      expect(refusal.expiresInMs).toBeGreaterThan(30_000);
      expect(refusal.expiresInMs).toBeLessThanOrEqual(60_000);
    }
    expect(await second.tryAcquire(asked('crash', once), never)).toMatchObject({
      ...{ acquired: false, reason: 'early', settling: true, earlyMs: expect.any(Number) as number },
    });
    expect(heard).toHaveLength(2);
    expect(heard[0]).toMatch(/come back after a crash.*locks are granted again in \d+ s/);
  });

  it.each([{ waitSessions: 1 }, { waitSessions: 0 }])('lets waiters have nothing sooner, with %o', async (options) => {
    const leaseMs = 1_000;
    const name = `waited for ${options.waitSessions}`;
    await acquired(open({ settleMs: 0 }), name);
    await crash();
    const provider = open(options);
    const request = asked(name, { leaseMs });
    await provider.untilFree!(request, never);
    expect(await upMs()).toBeGreaterThanOrEqual(leaseMs);
    expect(await provider.tryAcquire(request, never)).toMatchObject({ acquired: true });
  });

  it('lets those who keep asking have nothing sooner', async () => {
    const leaseMs = 600;
    await acquired(open({ settleMs: 0 }), 'asked again');
    await crash();
    const provider = open();
    await until('it is granted', async () => (await provider.tryAcquire(asked('asked again', { leaseMs }), never)).acquired);
    expect(await upMs()).toBeGreaterThanOrEqual(leaseMs);
  });

  it('settles on after an orderly restart too, and after a program of an earlier version was the first to come', async () => {
    await acquired(open({ settleMs: 0 }), 'both');
    await crash();
    expect(await open().tryAcquire(asked('both'), never)).toMatchObject(settling);
    await stage.server.restart();
    expect(await open().tryAcquire(asked('both'), never)).toMatchObject(settling);
    // The mark alone is what such a program leaves.
    await crash();
    await open().tryAcquire(asked('both'), never);
    await stage.sql("DELETE FROM solorun.uptime WHERE mark LIKE '% since %'");
    expect(await open().tryAcquire(asked('both'), never)).toMatchObject(settling);
  });

  it('grants at once with settleMs: 0, and settles for as long as it says otherwise', async () => {
    await acquired(open({ settleMs: 0 }), 'option');
    await crash();
    expect(await open({ settleMs: 600_000 }).tryAcquire(asked('option'), never)).toMatchObject(settling);
    await acquired(open({ settleMs: 0 }), 'option');
  });

  it('settles for no longer than a lease if its clock was set back since, and not anew for each process', async () => {
    await acquired(open({ settleMs: 0 }), 'clock');
    await crash();
    await open().tryAcquire(asked('clock'), never);
    // An hour ahead, as the clock was then.
    await stage.sql(`UPDATE solorun.uptime SET mark = split_part(mark, ' ', 1) || ' since ' || (split_part(mark, ' ', 3)::bigint + 3600000)
      || ' crash ' || split_part(mark, ' ', 5) WHERE mark LIKE '% since %'`);
    const refusal = await open().tryAcquire(asked('clock'), never);
    expect(refusal).toMatchObject(settling);
    expect(refusal.acquired || refusal.reason !== 'held' ? Infinity : refusal.expiresInMs).toBeLessThanOrEqual(60_000);
    // Short-lived processes, none of which lives for a lease.
    await until('one of them is granted it', async () => {
      const provider = open();
      const { acquired: got } = await provider.tryAcquire(asked('clock', { leaseMs: 1_000 }), never);
      await provider.close();
      return got;
    });
  });
});

describe('a server whose life began otherwise', () => {
  it('grants at once after an orderly restart, unless it is asked to settle then too', async () => {
    await acquired(open({ settleMs: 0 }), 'orderly', { leaseMs: 1_000 });
    // What crashed before is long ago for this lease.
    await until('it has settled', async () => (await open().tryAcquire(asked('settled', { leaseMs: 1_000 }), never)).acquired);
    await stage.server.restart();
    await acquired(open(), 'orderly', { leaseMs: 1_000 });
    expect(await open({ settleAfter: 'restart' }).tryAcquire(asked('orderly 2'), never)).toMatchObject(settling);
    expect(heard.at(-1)).toMatch(/has been started, and may not know/);
  });

  it('grants at once after the crash of one backend, which all holders hear of', async () => {
    const leaseMs = 1_000;
    const provider = open();
    await until('it is up for longer than the lease', async () => (await upMs()) > leaseMs);
    await provider.release(await acquired(provider, 'backend', { leaseMs }), { result: 'done' }, never);
    const [backend] = await stage.sql("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'solorun%'");
    process.kill(Number(backend!['pid']), 'SIGKILL');
    await until('the mark is gone', async () => {
      const rows = await stage.sql("SELECT 1 FROM solorun.uptime WHERE mark LIKE '% since %'").catch(() => [1]);
      return rows.length === 0;
    });
    expect(await open().tryAcquire(asked('backend', { leaseMs }), never)).toMatchObject({ acquired: true });
  });

  it('settles for a lease from the first session after a promotion', { timeout: 60_000 }, async () => {
    await acquired(open({ settleMs: 0 }), 'promoted');
    const standby = await stage.server.standby();
    onTestFinished(() => standby.stop());
    await until('it has been up for longer than the lease', async () => (await upMs()) > 1_000);
    await standby.promote();
    const connectionString = standby.url;
    const leaseMs = 1_000;
    for (const provider of [open({ connectionString }), open({ connectionString })]) {
      expect(await provider.tryAcquire(asked('promoted'), never)).toMatchObject(settling);
    }
    expect(heard.at(-1)).toMatch(/has been promoted/);
    const late = open({ connectionString });
    await until('it is granted', async () => (await late.tryAcquire(asked('promoted', { leaseMs }), never)).acquired);
  });

  it('is known by its recovery to a role without tables', async () => {
    await stage.sql('CREATE ROLE bare LOGIN');
    await stage.sql('REVOKE CREATE ON DATABASE postgres FROM PUBLIC');
    const bare = (): LockProvider => open({ connectionString: stage.server.urlFor({ user: 'bare' }), schema: 'nowhere' });
    await stage.server.restart();
    await acquired(bare(), 'bare');
    await crash();
    expect(await bare().tryAcquire(asked('bare'), never)).toMatchObject(settling);
    await stage.server.restart();
    await acquired(bare(), 'bare');
  });

  it('is no matter where the tables have just been made', async () => {
    await crash();
    await stage.sql(schemaSql({ schema: 'fresh' }));
    expect(await open({ schema: 'fresh' }).tryAcquire(asked('fresh'), never)).toMatchObject({ acquired: true });
  });
});

describe('the age of a server', () => {
  const session = { answeredAt: 0, lost: never };
  const life = (id: string, ageMs: number): Beginning => ({ life: id, upMs: ageMs, forgot: { why: 'crash', life: id, ageMs } });
  let at = 0;
  const clocked = (): Settling => {
    at = 0;
    return new Settling(
      {},
      () => {},
      () => at,
    );
  };

  it('is what the server says', () => {
    const settles = clocked().note(life('a', 4_000), session);
    expect(settles(10_000)).toBe(6_000);
    at += 5_999;
    expect(settles(10_000)).toBe(1);
    at += 1;
    expect(settles(10_000)).toBe(0);
    expect(settles(null)).toBeGreaterThan(0);
  });

  it('is what has been seen of it from here, if its clock has been set back since', () => {
    const ages = clocked();
    expect(ages.note(life('a', -3_600_000), session)(10_000)).toBe(10_000);
    at += 7_000;
    expect(ages.note(life('a', -3_593_000), session)(10_000)).toBe(3_000);
    at += 3_000;
    expect(ages.note(life('a', -3_590_000), session)(10_000)).toBe(0);
  });

  it('is no greater than the time since another life was heard of, if its clock has been set forward since', () => {
    const ages = clocked();
    const before = { answeredAt: 0, lost: never };
    ages.note(life('a', 100_000), before);
    at += 50_000;
    before.answeredAt = 48_000;
    expect(ages.note(life('b', 3_600_000), session)(10_000)).toBe(8_000);
    // What came before the last start is as old as the server says.
    expect(ages.note({ ...life('c', 0), forgot: { why: 'crash', life: 'a', ageMs: 149_000 } }, session)(10_000)).toBe(0);
  });
});
