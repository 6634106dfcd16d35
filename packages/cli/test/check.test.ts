import { createSolo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';
import { describe, expect, it } from 'vitest';
import { ends, newStore } from './cli.ts';

const HOUR_MS = 3_600_000;

/** A job that was due so long ago, and ran an occurrence before that. */
async function overdue(store: string, name: string, ms: number): Promise<void> {
  const solo = createSolo({ provider: lockfile({ directory: store.slice('file:'.length) }) });
  const nextDueAt = new Date(Date.now() - ms);
  await solo.run(name, () => {}, { occurrence: new Date(nextDueAt.getTime() - HOUR_MS), nextDueAt });
  await solo.close();
}

describe('check', () => {
  it('says of each job in a line whether it is well', async () => {
    const store = newStore();
    expect(await ends(['check', '--store', store])).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^There is no job to look at: /) as string,
    });
    await ends(['run', 'well', '--store', store, '--interval', '1d', '--', 'true']);
    expect(await ends(['check', '--store', store])).toEqual({
      status: 0,
      stdout: expect.stringMatching(/^ok {5}well: last success \S+ ago\n$/) as string,
      stderr: '',
    });
    await ends(['run', 'broken', '--store', store, '--', 'false']);
    await ends(['pause', 'broken', 'well', '--for', '1h', '--store', store]);
    await overdue(store, 'late', HOUR_MS);
    const { status, stdout } = await ends(['check', '--store', store]);
    expect(status).toBe(1);
    expect(stdout.trimEnd().split('\n')).toEqual([
      expect.stringMatching(/^paused broken: paused by \S+ for another (1h|59m 5\ds)$/) as string,
      expect.stringMatching(/^BAD {4}late: late by 1h/) as string,
      expect.stringMatching(/^paused well: /) as string,
    ]);
    const quiet = await ends(['check', '--quiet', '--store', store]);
    expect(quiet).toMatchObject({ status: 1, stdout: expect.stringMatching(/^BAD {4}late: [^\n]+\n$/) as string });
    expect(await ends(['check', 'well', '--quiet', '--store', store])).toMatchObject({ status: 0, stdout: '' });
    await ends(['resume', 'broken', '--store', store]);
    expect((await ends(['check', 'broken', '--store', store])).stdout).toBe('BAD    broken: its last run failed: exit status 1\n');
  });

  it('goes by the time that a job may be late, silent, new or running', async () => {
    const store = newStore();
    await overdue(store, 'job', HOUR_MS);
    const check = ['check', 'job', '--store', store];
    expect(await ends([...check, '--late', '2h'])).toMatchObject({ status: 0 });
    expect(await ends([...check, '--late', '30m'])).toMatchObject({ status: 1 });
    expect(await ends([...check, '--late', '2h', '--max-age', '1ms'])).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^BAD {4}job: no success for /) as string,
    });
    expect(await ends(['check', 'never', '--store', store])).toMatchObject({
      status: 1,
      stdout: 'BAD    never: has never been locked here\n',
    });
    await ends(['pause', 'never', '--store', store]);
    for (const words of [['never'], []]) {
      expect((await ends(['check', ...words, '--late', '2h', '--store', store])).stdout).toMatch(
        /^paused never: paused by \S+ until \S+; never locked here yet$/m,
      );
    }
  });

  it('--json is for scripts', async () => {
    const store = newStore();
    await ends(['run', 'x', '--store', store, '--', 'false']);
    const { status, stdout } = await ends(['check', '--json', '--store', store]);
    expect({ status, jobs: JSON.parse(stdout) as unknown }).toEqual({
      status: 1,
      jobs: [{ name: 'x', state: 'bad', says: ['its last run failed: exit status 1'] }],
    });
  });

  it('--nagios has the statuses and the figures of a plugin', async () => {
    const store = newStore();
    const nagios = ['check', '--nagios', '--store', store];
    expect(await ends(nagios)).toMatchObject({
      status: 3,
      stdout: expect.stringMatching(/^SOLORUN UNKNOWN - There is no job/) as string,
    });
    await ends(['run', 'well', '--store', store, '--', 'true']);
    expect(await ends(nagios)).toMatchObject({
      status: 0,
      stdout: 'SOLORUN OK - one job is well | jobs=1;;;0 bad=0;;;0 paused=0;;;0\n',
    });
    await ends(['pause', 'well', '--store', store]);
    expect(await ends(nagios)).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^SOLORUN WARNING - well: paused/) as string,
    });
    await ends(['run', 'b|d', '--store', store, '--', 'false']);
    const { status, stdout } = await ends(nagios);
    expect(status).toBe(2);
    expect(stdout).toMatch(/^SOLORUN CRITICAL - b\/d: its last run failed: exit status 1 \| jobs=2;;;0 bad=1;;;0 paused=1;;;0\n/);
    expect(await ends(['check', '--nagios', '--store', 'postgres://nobody:secret@127.0.0.1:1/none'])).toMatchObject({
      status: 3,
      stdout: expect.stringMatching(/^SOLORUN UNKNOWN - (?!.*secret)/) as string,
    });
    expect(await ends(['check', '--store', 'postgres://nobody:secret@127.0.0.1:1/none'])).toMatchObject({ status: 69, stdout: '' });
  });
});
