import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { createSolo, ProviderError, type LockProvider } from '@solorun/core';
import { providerContract } from '@solorun/core/testing';
import { pgbouncerMissing, startPgbouncer, type Pgbouncer } from '@solorun/servers/pgbouncer';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { PoolerDetectedError, postgresAdvisory, postgresLease } from '../src/index.ts';
import { acquired, asked, failureOf, never, onPostgres, openPool } from './server.ts';

const missing = pgbouncerMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: tests through PgBouncer. Remedy: ${missing}\n`);

describe.runIf(missing === undefined || process.env['CI'] === 'true')('through PgBouncer', () => {
  const stage = onPostgres();
  const poolers: Pgbouncer[] = [];
  const through = async (mode: 'transaction' | 'session' | 'statement', settings = {}): Promise<Pgbouncer> => {
    const pooler = await startPgbouncer({ postgres: stage.server, mode, settings });
    poolers.push(pooler);
    return pooler;
  };
  afterAll(() => Promise.all(poolers.map((pooler) => pooler.stop())));

  describe.each(['transaction', 'statement'] as const)('in %s mode', (mode) => {
    it.each([20, 1])('the advisory provider refuses to work, in under a second, with a pool of %i', async (size) => {
      const pooler = await through(mode, { default_pool_size: size });
      const provider = stage.open(postgresAdvisory({ connectionString: pooler.url }));
      const startedAt = performance.now();
      const error = await failureOf(provider.tryAcquire(asked('refused'), never));
      expect(performance.now() - startedAt).toBeLessThan(1_000);
      expect(error).toBeInstanceOf(PoolerDetectedError);
      expect(error.message).toMatch(new RegExp(`${mode} mode.*postgresLease`));
    });
  });

  /** In front of a pooler, with a say in what clients send. */
  async function relay(
    { port: behind }: Pgbouncer,
    onSent: (text: string, socket: Socket) => Promise<void> | void,
  ): Promise<number> {
    const server = createServer((socket) => {
      const upstream = connect({ port: behind, host: '127.0.0.1' });
      for (const one of [socket, upstream]) one.on('error', () => {});
      upstream.on('data', (chunk) => socket.write(chunk)).on('close', () => socket.destroy());
      socket.on('close', () => upstream.destroy());
      let before = Promise.resolve();
      socket.on('data', (chunk) => {
        before = before.then(() => onSent(String(chunk), socket)).then(() => void (socket.destroyed || upstream.write(chunk)));
      });
    });
    onTestFinished(() => void server.close());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  it('is not taken for one in session mode while all of its backends are in transactions of others', async () => {
    const pooler = await through('transaction', { default_pool_size: 1 });
    const client = new pg.Client({ connectionString: pooler.url });
    await client.connect();
    let looks = 0;
    let busy: Promise<unknown> | undefined;
    // When the second connection of the look asks for the first time, the only backend is taken, for longer than is waited.
    const port = await relay(pooler, async (text) => {
      if (!text.includes('pg_backend_pid') || (looks += 1) !== 2) return;
      await client.query('BEGIN');
      busy = client.query('SELECT pg_sleep(1.2)').then(() => client.query('COMMIT'));
    });
    const provider = stage.open(postgresAdvisory({ connectionString: pooler.urlFor({ port }) }));
    const error = await failureOf(provider.tryAcquire(asked('busy pool'), never));
    expect(error).toBeInstanceOf(PoolerDetectedError);
    expect(error.message).toMatch(/transaction mode/);
    await busy;
    await client.end();
  });

  it('is not blamed for a BEGIN that failed for another reason, and an election goes on', async () => {
    let broken = 0;
    // A connection that breaks in just that moment, for the first two who ask.
    const port = await relay(await through('session'), (text, socket) => {
      if (!text.includes('BEGIN') || broken === 2) return;
      broken += 1;
      socket.resetAndDestroy();
    });
    const pooler = poolers.at(-1)!;
    const solo = createSolo({ provider: postgresAdvisory({ connectionString: pooler.urlFor({ port }) }) });
    onTestFinished(() => solo.close());
    await expect(solo.tryAcquire('begin')).rejects.toBeInstanceOf(ProviderError);
    await new Promise<void>((resolve, reject) => {
      solo.elect('begin', { onElected: () => resolve() }).finished.catch(reject);
    });
    expect(broken).toBe(2);
  });

  it('refuses an election and a wait too, rather than trying for ever', async () => {
    const pooler = await through('transaction');
    const solo = createSolo({ provider: stage.open(postgresAdvisory({ connectionString: pooler.url })) });
    await expect(solo.acquire('x', { waitMs: 60_000 })).rejects.toBeInstanceOf(PoolerDetectedError);
    await solo.close();
  });

  it.each([20, 2])(
    'in session mode, with a pool of %i, the advisory provider works and keeps out a direct client',
    async (size) => {
      const pooler = await through('session', { default_pool_size: size });
      const pooled = stage.open(postgresAdvisory({ connectionString: pooler.url }));
      const direct = stage.open(postgresAdvisory({ connectionString: stage.server.url }));
      const grant = await acquired(pooled, `session ${size}`, { leaseMs: 3_000 });
      expect(await direct.tryAcquire(asked(`session ${size}`), never)).toMatchObject({ acquired: false, reason: 'held' });
      expect(await pooled.renew(grant, never)).toBe(true);
      expect(await pooled.release(grant, { result: 'done' }, never)).toBe(true);
      expect(await direct.tryAcquire(asked(`session ${size}`), never)).toMatchObject({ acquired: true });
    },
  );

  describe('in transaction mode, lease rows keep the whole contract', () => {
    let pooler: Pgbouncer;
    let pool: pg.Pool;
    beforeAll(async () => {
      pooler = await through('transaction');
      pool = openPool({ connectionString: pooler.url });
    });
    afterAll(() => pool.end());
    const providers: Record<string, () => LockProvider> = {
      'over a connection': () => postgresLease({ connectionString: pooler.url }),
      'over a pool': () => postgresLease({ pool }),
    };
    describe.each(Object.keys(providers))('%s', (kind) => {
      for (const { name, guarantee, run } of providerContract({ open: () => providers[kind]!(), leaseMs: 600 })) {
        it(`${guarantee}: ${name}`, async () => {
          await expect(run()).resolves.toBeUndefined();
        });
      }
    });

    it('says that it has to look, and that nobody tells it', async () => {
      const provider = stage.open(postgresLease({ connectionString: pooler.url }));
      await acquired(provider, 'looking');
      expect(provider.guarantees.wakeUp).toBe('poll');
    });

    it('sets nothing on a connection that others will use', async () => {
      const provider = stage.open(postgresLease({ connectionString: pooler.url }));
      await acquired(provider, 'clean');
      const names = await stage.sql("SELECT count(*)::text AS n FROM pg_stat_activity WHERE application_name LIKE 'solorun%'");
      expect(names[0]).toEqual({ n: '0' });
    });
  });
});

describe('a hot standby', () => {
  const stage = onPostgres();

  it('is refused by both providers, and a promoted one is not', { timeout: 60_000 }, async () => {
    // Records exist before the standby does.
    const primary = stage.open(postgresAdvisory({ connectionString: stage.server.url }));
    await acquired(primary, 'before');
    const standby = await stage.server.standby();
    for (const open of [postgresAdvisory, postgresLease]) {
      const error = await failureOf(stage.open(open({ connectionString: standby.url })).tryAcquire(asked('x'), never));
      expect(error.message).toMatch(/hot standby.*Connect to the primary/);
    }
    const pool = openPool({ connectionString: standby.url });
    const error = await failureOf(stage.open(postgresLease({ pool })).tryAcquire(asked('x'), never));
    expect(error.message).toMatch(/hot standby/);
    await pool.end();

    // Fences go on growing although the sequence came over only in part.
    const before = await acquired(primary, 'fence');
    await primary.release(before, { result: 'done' }, never);
    await standby.promote();
    const after = await acquired(stage.open(postgresAdvisory({ connectionString: standby.url, settleMs: 0 })), 'fence');
    expect(after.fence).toBeGreaterThan(before.fence + 2n ** 31n);
  });
});
