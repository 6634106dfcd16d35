import type { Finding } from '@solorun/core';
import pg from 'pg';
import { expect, it } from 'vitest';
import { postgresAdvisory, postgresLease } from '../src/index.ts';
import { onPostgres } from './server.ts';

const stage = onPostgres();

const stateOf = (findings: readonly Finding[] | undefined, wanted: string): string | undefined =>
  findings?.find(({ check }) => check === wanted)?.state;

it('examines the server before anything was locked there, and locks nothing', async () => {
  const { port } = stage.server;
  const connection = { host: '127.0.0.1', port, user: 'postgres', database: 'postgres' };
  for (const open of [postgresAdvisory, postgresLease]) {
    const findings = await stage.open(open(connection)).examine?.();
    expect(findings?.map(({ check, state }) => [check, state])).toEqual([
      ['server', 'ok'],
      ['role', 'ok'],
      ['rights', 'ok'],
      ['pooler', 'ok'],
    ]);
    expect(findings?.[2]?.says).toBe('the tables will be made');
  }
});

it('examines the rights to the schema of its options, by way of a pool too', async () => {
  await stage.sql('CREATE ROLE modest LOGIN');
  await stage.sql('CREATE DATABASE others');
  const connectionString = stage.server.urlFor({ user: 'modest', database: 'others' });
  const schema = `it's "another"`;
  const pool = new pg.Pool({ connectionString });
  const kinds = [postgresLease({ pool, schema }), postgresLease({ connectionString, schema })].map((kind) => stage.open(kind));
  for (const provider of kinds) expect(stateOf(await provider.examine?.(), 'rights')).toBe('unsafe');
  await pool.end();
  const tables = stage.open(postgresLease({ connectionString: stage.server.url, schema }));
  await tables.tryAcquire({ name: 'x', owner: 'o', leaseMs: 1_000, holder: { host: 'h', pid: 1 } }, new AbortController().signal);
  expect((await tables.examine?.())?.[2]?.says).toBe('the tables are there');
});

it('finds a server that is not there unreachable', async () => {
  const pool = new pg.Pool({ host: '127.0.0.1', port: 1 });
  for (const provider of [postgresLease({ pool }), postgresAdvisory({ host: '127.0.0.1', port: 1 })]) {
    expect(await stage.open(provider).examine?.()).toMatchObject([
      { check: 'server', state: 'unreachable', says: expect.stringContaining('ECONNREFUSED') as string },
    ]);
  }
  await pool.end();
});
