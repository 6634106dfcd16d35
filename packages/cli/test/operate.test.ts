import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { userInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import { ends, newStore, solorun } from './cli.ts';

const HOLD = 'echo ready; read line';
const slot = ['--interval', '1d'];

describe('pause', () => {
  it('keeps a lock from being run, says who did it and why, and ends with resume', async () => {
    const store = newStore();
    const paused = await ends(['pause', 'backup', '--for', '2h', '--note', 'disk is replaced', '--store', store]);
    expect(paused).toMatchObject({ status: 0, stdout: expect.stringMatching(/^Paused "backup" until 20\S+Z\.\n$/) as string });
    const run = ['run', 'backup', '--store', store];
    const who = userInfo().username;
    expect(await ends([...run, '--', 'echo', 'ran'])).toEqual({
      status: 75,
      stdout: '',
      stderr: expect.stringMatching(
        new RegExp(
          `^solorun: skipped: "backup" is paused until 20\\S+Z by ${who}@\\S+: disk is replaced \\(--ignore-pause runs it\\)\n$`,
        ),
      ) as string,
    });
    expect(await ends([...run, '--ignore-pause', '--', 'echo', 'ran'])).toMatchObject({ status: 0, stdout: 'ran\n' });
    expect(await ends(['resume', 'backup', '--store', store])).toMatchObject({ status: 0, stdout: 'Resumed "backup".\n' });
    expect(await ends([...run, '--', 'echo', 'ran'])).toMatchObject({ status: 0, stdout: 'ran\n' });
    expect(await ends(['resume', 'backup', '--store', store])).toMatchObject({
      status: 1,
      stderr: 'solorun: "backup" is not paused\n',
    });
  });

  it.each([
    ['--wait', '10m'],
    ['--on-busy', 'fail'],
    ['--on-busy', 'retry'],
    [...slot, '--on-busy', 'standby'],
  ])('ends a run at once, whatever it would do about a lock that is held: %s %s', async (...policy) => {
    const store = newStore();
    await ends(['pause', 'x', '--store', store]);
    const { status, stderr } = await ends(['run', 'x', '--store', store, ...policy, '--', 'true']);
    expect({ status, stderr }).toEqual({ status: 75, stderr: expect.stringContaining('"x" is paused until') as string });
  });

  it('lets a run in progress go on, and says that there is one', async () => {
    const store = newStore();
    const holder = solorun(['run', 'x', '--store', store, '--', 'sh', '-c', HOLD]);
    await holder.prints(/ready/);
    const { stdout } = await ends(['pause', 'x', '--store', store]);
    expect(stdout).toMatch(new RegExp(`A run is in progress on \\S+ \\(pid ${holder.pid}\\), and goes on\\.`));
    holder.write('\n');
    expect(await holder.ended).toMatchObject({ status: 0 });
  });

  it('--list shows what is paused, also what was never locked', async () => {
    const store = newStore();
    expect((await ends(['pause', '--list', '--store', store])).stdout).toBe('Nothing is paused.\n');
    await ends(['run', 'b', '--store', store, '--', 'true']);
    await ends(['pause', 'b', 'a', '--until', new Date(Date.now() + 3_600_000).toISOString(), '--note', 'x\ny', '--store', store]);
    const { stdout } = await ends(['pause', '--list', '--store', store]);
    const [head, ...rows] = stdout.trimEnd().split('\n');
    expect(head).toMatch(/^NAME +PAUSED UNTIL +BY +NOTE$/);
    expect(rows).toEqual([
      expect.stringMatching(/^a +20\S+Z \(in (1h|59m 5\ds)\) +\S+@\S+ +x\\ny$/) as string,
      expect.stringMatching(/^b /) as string,
    ]);
    const json = JSON.parse((await ends(['pause', '--list', '--json', '--store', store])).stdout) as object[];
    expect(json).toEqual([expect.objectContaining({ name: 'a', note: 'x\ny' }), expect.objectContaining({ name: 'b' })]);
  });

  it('--prefix pauses and resumes all that are known', async () => {
    const store = newStore();
    for (const name of ['etl/a', 'etl/b', 'other']) await ends(['run', name, '--store', store, '--', 'true']);
    const paused = JSON.parse((await ends(['pause', '--prefix', 'etl/', '--json', '--store', store])).stdout) as { name: string }[];
    expect(paused.map(({ name }) => name).sort()).toEqual(['etl/a', 'etl/b']);
    for (const verb of ['pause', 'resume']) {
      expect(await ends([verb, '--prefix', 'elt/', '--store', store])).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/begins with "elt\/": nothing was done\.\n$/) as string,
      });
    }
    const { stdout } = await ends(['resume', '--prefix', '', '--store', store]);
    expect(stdout.trimEnd().split('\n').sort()).toEqual(['Resumed "etl/a".', 'Resumed "etl/b".']);
  });

  it.each([
    [['pause'], 'pause needs the name of a lock, or --prefix'],
    [['pause', 'x', '--until', 'tomorrow'], '--until "tomorrow" is no instant'],
    [['pause', 'x', '--until', '2001-01-01'], '--until 2001-01-01T00:00:00.000Z is in the past'],
    [['pause', 'x', '--for', '31d'], 'A pause lasts from 1 ms to 30 days'],
    [['pause', 'x', '--for', '1h', '--until', '2099-01-01'], 'cannot be used with'],
    [['resume'], 'resume needs the name of a lock, or --prefix'],
    [['prune'], "required option '--older-than <time>'"],
    [['check', '--late', '15'], 'a time needs its unit'],
    [['check', '--allow-new', '1h'], '--allow-new goes with --max-age'],
  ])('and the others refuse what cannot work: %j', async (words, why) => {
    const { status, stderr } = await ends([...words, '--store', newStore()]);
    expect({ status, stderr }).toEqual({ status: 64, stderr: expect.stringContaining(why) as string });
  });
});

describe('status', () => {
  it('shows at a glance what is paused, late, failed, running or well', async () => {
    const store = newStore();
    await ends(['run', 'well', '--store', store, ...slot, '--', 'true']);
    await ends(['run', 'failed', '--store', store, ...slot, '--', 'false']);
    await ends(['run', 'paused', '--store', store, ...slot, '--', 'true']);
    await ends(['pause', 'paused', '--store', store]);
    const holder = solorun(['run', 'running', '--store', store, '--', 'sh', '-c', HOLD]);
    await holder.prints(/ready/);
    const { stdout } = await ends(['status', '--store', store]);
    const [head, ...rows] = stdout.trimEnd().split('\n');
    expect(head).toMatch(/ LEASE ENDS +DUE +PAUSED$/);
    expect(rows).toEqual([
      expect.stringMatching(/^failed +failed .* in \d+h/) as string,
      expect.stringMatching(/^paused +paused .* for (1h|59m 5\ds) by \S+@\S+$/) as string,
      expect.stringMatching(/^running +running /) as string,
      expect.stringMatching(/^well +idle .* in \d+h/) as string,
    ]);
    holder.write('\n');
    await holder.ended;
  });
});

describe('history', () => {
  it('shows how the last runs went, the newest first', async () => {
    const store = newStore();
    const run = ['run', 'x', '--store', store, '--history'];
    await ends([...run, '--', 'true']);
    await ends([...run, '--', 'sh', '-c', 'exit 3']);
    const { status, stdout } = await ends(['history', 'x', '--store', store]);
    const [head, ...rows] = stdout.trimEnd().split('\n');
    expect(status).toBe(0);
    expect(head).toMatch(/^STARTED +OUTCOME +TOOK +HOLDER +FENCE +ERROR$/);
    expect(rows).toEqual([
      expect.stringMatching(/^20\S+Z +failed +\S+ +\S+ \(pid \d+\) +\d+ +exit status 3$/) as string,
      expect.stringMatching(/^20\S+Z +done +\S+ +\S+ \(pid \d+\) +\d+$/) as string,
    ]);
    const [newest] = JSON.parse((await ends(['history', 'x', '--json', '--store', store])).stdout) as object[];
    expect(newest).toMatchObject({ outcome: 'failed', error: 'exit status 3', fence: expect.stringMatching(/^\d+$/) as string });
  });

  it('says why there is nothing to show', async () => {
    const store = newStore();
    await ends(['run', 'plain', '--store', store, '--', 'true']);
    expect(await ends(['history', 'plain', '--store', store])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no run of "plain" was kept') as string,
    });
    expect(await ends(['history', 'never', '--store', store])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('nobody has ever locked "never" here') as string,
    });
  });
});

describe('rerun', () => {
  it('gives the last scheduled time one more attempt', async () => {
    const store = newStore();
    const run = ['run', 'x', '--store', store, ...slot, '--', 'sh', '-c', 'echo attempt $SOLORUN_ATTEMPT'];
    await ends(run);
    expect(await ends(run)).toMatchObject({ status: 75, stdout: '' });
    const opened = await ends(['rerun', 'x', '--store', store]);
    expect(opened).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^Opened "x" for 20\S+Z once more: its next run is attempt 2\.\n$/) as string,
    });
    expect(await ends(run)).toMatchObject({ status: 0, stdout: 'attempt 2\n' });
    expect(await ends(run)).toMatchObject({ status: 75 });
  });

  it('says why it cannot', async () => {
    const store = newStore();
    await ends(['run', 'plain', '--store', store, '--', 'true']);
    const holder = solorun(['run', 'held', '--store', store, ...slot, '--', 'sh', '-c', HOLD]);
    await holder.prints(/ready/);
    for (const [name, why] of [
      ['never', 'nobody has ever locked "never" here'],
      ['plain', '"plain" has no scheduled time that could be run again'],
      ['held', '"held" runs now'],
    ] as const) {
      expect(await ends(['rerun', name, '--store', store])).toMatchObject({
        status: 1,
        stderr: expect.stringContaining(why) as string,
      });
    }
    holder.write('\n');
    await holder.ended;
  });
});

describe('prune', () => {
  it('removes what is free and old enough, and shows it first', async () => {
    const store = newStore();
    for (const name of ['job/1', 'job/2', 'other']) await ends(['run', name, '--store', store, '--', 'true']);
    const prune = ['prune', '--older-than', '0s', '--prefix', 'job/', '--store', store];
    expect((await ends([...prune, '--dry-run'])).stdout.trimEnd().split('\n').sort()).toEqual(['job/1', 'job/2']);
    expect(await ends(prune)).toMatchObject({ status: 0, stdout: 'Removed 2 records.\n' });
    expect((await ends(['list', '--store', store])).stdout).toBe('other\n');
    expect((await ends(['prune', '--older-than', '30d', '--json', '--store', store])).stdout).toContain('"forgotten": 0');
  });
});

describe('run --within', () => {
  it('does not run a scheduled time that is too long ago', async () => {
    const store = newStore();
    const run = ['run', 'x', '--store', store, '--interval', '3650d', '--within'];
    expect(await ends([...run, '1ms', '--', 'echo', 'ran'])).toMatchObject({
      status: 75,
      stdout: '',
      stderr: expect.stringContaining('longer ago than 1ms (--within)') as string,
    });
    expect(await ends([...run, '3650d', '--', 'echo', 'ran'])).toMatchObject({ status: 0, stdout: 'ran\n' });
  });
});

describe('run --ping', () => {
  it('tells a monitor how the command went, and the command does not inherit the URL', async () => {
    const told: string[] = [];
    const monitor = createServer((request, response) => {
      told.push(new URL(request.url!, 'http://monitor').pathname);
      response.end();
    });
    await new Promise<void>((resolve) => monitor.listen(0, '127.0.0.1', resolve));
    try {
      const store = newStore();
      const url = `http://127.0.0.1:${(monitor.address() as AddressInfo).port}/secret`;
      const run = ['run', 'x', '--store', store];
      const ran = await ends([...run, '--', 'sh', '-c', 'echo ran with ${SOLORUN_PING_URL-nothing}'], {
        env: { SOLORUN_PING_URL: url },
      });
      expect(ran).toMatchObject({ status: 0, stdout: 'ran with nothing\n' });
      expect(told.splice(0)).toEqual(['/secret/start', '/secret']);
      expect(await ends([...run, '--ping', url, '--', 'sh', '-c', 'exit 3'])).toMatchObject({ status: 3 });
      expect(told.splice(0)).toEqual(['/secret/start', '/secret/fail']);
      await ends(['pause', 'x', '--store', store]);
      expect(await ends([...run, '--ping', url, '--', 'true'])).toMatchObject({ status: 75 });
      expect(told).toEqual([]);
    } finally {
      monitor.closeAllConnections();
      monitor.close();
    }
  });

  it('says that the monitor could not be told, and the run goes on', async () => {
    const ran = await ends(['run', 'x', '--store', newStore(), '--ping', 'http://127.0.0.1:1/secret', '--', 'echo', 'ran']);
    expect(ran).toMatchObject({
      status: 0,
      stdout: 'ran\n',
      stderr: expect.stringMatching(/The monitor at 127\.0\.0\.1:1 was not told/) as string,
    });
    expect(ran.stderr).not.toContain('secret');
  });

  it('refuses what is no URL, and does not repeat it', async () => {
    const { status, stderr } = await ends(['run', 'x', '--store', newStore(), '--ping', 'hc-ping/secret', '--', 'true']);
    expect({ status, stderr }).toEqual({ status: 64, stderr: expect.not.stringContaining('secret') as string });
  });
});
