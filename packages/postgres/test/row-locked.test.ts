import { createSolo, type AcquireResult, type LockProvider } from '@solorun/core';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guard, postgresAdvisory, postgresLease } from '../src/index.ts';
import { acquired, asked, never, onPostgres, until } from './server.ts';

const stage = onPostgres({ settings: { max_prepared_transactions: 5 } });
const heard: string[] = [];
const onWarning = (message: string): void => void heard.push(message);
process.on('warning', ({ message, ...about }) => {
  if ((about as { code?: string }).code === 'SOLORUN_ROW_LOCKED') heard.push(message);
});

const providers: Record<string, () => LockProvider> = {
  advisory: () => postgresAdvisory({ connectionString: stage.server.url, onWarning }),
  lease: () => postgresLease({ connectionString: stage.server.url }),
};

/** A transaction that nobody ends, and the process that serves it. */
async function forgotten(...statements: string[]): Promise<{ client: pg.Client; pid: number }> {
  const client = new pg.Client({ connectionString: stage.server.url });
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end());
  for (const statement of ['BEGIN', ...statements]) await client.query(statement);
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  return { client, pid: rows[0]!.pid };
}

describe.each(Object.keys(providers))('a row that a transaction has locked (%s)', (kind) => {
  let minute = 0;
  const due = (): { occurrence: { at: Date; attempts: number } } => ({
    occurrence: { at: new Date((minute += 60_000)), attempts: 1 },
  });

  async function provided(name: string): Promise<LockProvider> {
    heard.length = 0;
    const provider = stage.open(providers[kind]!());
    await provider.release(await acquired(provider, name, due()), { result: 'done' }, never);
    return provider;
  }

  async function refusalFor(provider: LockProvider, name: string): Promise<AcquireResult & { detail?: string | undefined }> {
    let result: (AcquireResult & { detail?: string | undefined }) | undefined;
    await until('it is told what is in the way', async () => {
      result = await provider.tryAcquire(asked(name, due()), never);
      return 'detail' in result && result.detail !== undefined;
    });
    return result!;
  }

  it('is what a refusal names, with the processes that hold it, and one warning tells of it', async () => {
    const name = `${kind} forgotten`;
    const provider = await provided(name);
    // As docs/postgres.md gives it to operators.
    const { client, pid } = await forgotten(
      `UPDATE solorun.job SET held = false, expires_at = NULL WHERE kind = '${kind}' AND name = '${name}'`,
    );
    const refusal = await refusalFor(provider, name);
    expect(refusal).toMatchObject({ reason: 'held' });
    expect(refusal).not.toHaveProperty('holder');
    expect(refusal.detail).toBe(
      `its row is locked by a transaction (server process ${pid}): commit it, roll it back, or end its session with pg_terminate_backend`,
    );
    await refusalFor(provider, name);
    await until('it is told', () => heard.length > 0);
    expect(heard).toEqual([`postgres-${kind}: nobody can acquire "${name}": ${refusal.detail}.`]);
    await client.query('COMMIT');
    await acquired(provider, name, due());
  });

  it('names all of several that hold it together', async () => {
    const name = `${kind} together`;
    const provider = await provided(name);
    const share = `SELECT 1 FROM solorun.job WHERE name = '${name}' FOR ${kind === 'lease' ? 'KEY SHARE' : 'SHARE'}`;
    const pids = [await forgotten(share), await forgotten(share)].map(({ pid }) => String(pid));
    let detail: string | undefined;
    await until('both are old enough', async () => {
      ({ detail } = await refusalFor(provider, name));
      return pids.every((pid) => detail?.includes(pid));
    });
    expect(detail).toMatch(/its row is locked by a transaction \(server process \d+, \d+\)/);
  });

  it('tells of a prepared transaction too, which no process serves', async () => {
    const name = `${kind} prepared`;
    const provider = await provided(name);
    await forgotten(
      `UPDATE solorun.job SET held = false WHERE kind = '${kind}' AND name = '${name}'`,
      `PREPARE TRANSACTION '${name}'`,
    );
    onTestFinished(() => stage.sql(`ROLLBACK PREPARED '${name}'`).then(() => {}));
    expect((await refusalFor(provider, name)).detail).toMatch(/prepared transaction.*pg_prepared_xacts/);
  });
});

describe('a lease row that a transaction has locked while it is held', () => {
  it('costs no other lease of the process, and the holder is told why it cannot renew', { timeout: 40_000 }, async () => {
    const solo = createSolo({ provider: postgresLease({ connectionString: stage.server.url }), leaseMs: 3_000 });
    onTestFinished(() => solo.close());
    const [locked, other] = [await solo.acquire('locked', { waitMs: 0 }), await solo.acquire('other', { waitMs: 0 })];
    const errors: string[] = [];
    solo.on('unconfirmed', ({ error }) => void errors.push((error as Error).message));
    const { client, pid } = await forgotten("SELECT 1 FROM solorun.job WHERE name = 'locked' FOR UPDATE");
    await until('its lease is over', () => locked.signal.aborted);
    expect(errors.at(-1)).toContain(`its row is locked by a transaction (server process ${pid})`);
    await client.query('COMMIT');
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(other.signal.aborted).toBe(false);
  });
});

describe('a lease row that the last holder guards with a transaction', () => {
  it('is told in the same words', async () => {
    const provider = stage.open(postgresLease({ connectionString: stage.server.url }));
    const grant = await acquired(provider, 'guarded');
    const { client, pid } = await forgotten();
    await guard({ grant }, client);
    await provider.release(grant, { result: 'done' }, never);
    let detail: string | undefined;
    await until('it is told what is in the way', async () => {
      const result = await provider.tryAcquire(asked('guarded'), never);
      detail = result.acquired || result.reason !== 'held' ? undefined : result.detail;
      return detail !== undefined;
    });
    expect(detail).toContain(`its row is locked by a transaction (server process ${pid})`);
    await client.query('COMMIT');
    await acquired(provider, 'guarded');
  });
});
