import { spawnSync } from 'node:child_process';
import { createSolo } from '@solorun/core';
import { describe, expect, it } from 'vitest';
import { postgresAdvisory, postgresLease } from '../src/index.ts';
import { onPostgres } from './server.ts';

/** Runs statements from another process while this one stands still. */
function whileStalled(url: string, ...statements: string[]): void {
  const program = `
    import pg from 'pg';
    const client = new pg.Client({ connectionString: process.argv[1] });
    await client.connect();
    for (const statement of process.argv.slice(2)) {
      // Until it says so: a backend takes a moment to go.
      while ((await client.query(statement)).rows.some(({ again }) => again)) ;
    }
    await client.end();`;
  const words = ['--input-type=module', '--eval', program, url, ...statements];
  const { status, stderr } = spawnSync(process.execPath, words, { cwd: import.meta.dirname, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

describe('a holder whose event loop stood still while its lease ended on the server', () => {
  const stage = onPostgres();

  it.each([
    {
      what: 'a session lock, whose session was ended',
      make: postgresAdvisory,
      statements: [
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'solorun %'`,
        `SELECT true AS again FROM pg_locks WHERE locktype = 'advisory'`,
      ],
    },
    {
      what: 'a lease row, which an operator released',
      make: postgresLease,
      statements: [`UPDATE solorun.job SET held = false`],
    },
  ])('is told by confirm(): $what', async ({ make, statements }) => {
    const solo = createSolo({ provider: stage.open(make({ connectionString: stage.server.url })) });
    const steps: string[] = [];
    const run = solo.run('job', async ({ checkpoint, confirm }) => {
      await confirm();
      steps.push('confirmed');
      whileStalled(stage.server.url, ...statements);
      // Only the server knows by now.
      checkpoint();
      steps.push('passed a checkpoint');
      await confirm();
      steps.push('confirmed again');
    });
    await expect(run).rejects.toMatchObject({ name: 'LeaseLostError', code: 'SOLORUN_LEASE_LOST' });
    expect(steps).toEqual(['confirmed', 'passed a checkpoint']);
    await solo.close();
  });
});
