import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { ends, newStore, solorun } from './cli.ts';

const HOLD = 'echo ready; read line';

describe('status', () => {
  it('shows who holds what, for how long, and how the last runs went', async () => {
    const store = newStore();
    const slot = ['--interval', '1d'];
    await ends(['run', 'done', '--store', store, ...slot, '--', 'true']);
    await ends(['run', 'failed', '--store', store, '--', 'false']);
    const holder = solorun(['run', 'held', '--store', store, '--label', 'web-1', '--', 'sh', '-c', HOLD]);
    await holder.prints(/ready/);
    const { status, stdout, stderr } = await ends(['status', '--store', store]);
    const [head, ...rows] = stdout.trimEnd().split('\n');
    expect({ status, stderr, head }).toEqual({
      status: 0,
      stderr: '',
      head: expect.stringMatching(/^NAME +STATE +HOLDER +HELD FOR +LAST SUCCESS +TOOK +ATTEMPT +LEASE ENDS +DUE$/) as string,
    });
    expect(rows).toEqual([
      expect.stringMatching(/^done +idle +\S+ ago +\S+ +1 +in \S.*$/),
      expect.stringMatching(/^failed +failed +never +\S+$/),
      expect.stringMatching(new RegExp(`^held +running +web-1@${hostname()} \\(pid ${holder.pid}\\) +\\S+ +never +in \\d+[sm]$`)),
    ]);
    holder.write('\n');
    expect(await holder.ended).toMatchObject({ status: 0 });
  });

  it('tells a crash from an end', async () => {
    const store = newStore();
    const killed = solorun(['run', 'x', '--store', store, '--interval', '1d', '--', 'sh', '-c', HOLD]);
    await killed.prints(/ready/);
    killed.kill('SIGKILL');
    await killed.ended;
    expect((await ends(['status', '--store', store])).stdout).toMatch(/^x +crashed/m);
  });

  it('--json is for scripts: fences are strings, times are ISO 8601', async () => {
    const store = newStore();
    await ends(['run', 'x', '--store', store, '--namespace', 'billing', '--', 'sh', '-c', 'exit 3']);
    const { stdout } = await ends(['status', '--store', store, '--namespace', 'billing', '--json']);
    expect(JSON.parse(stdout)).toEqual([
      expect.objectContaining({
        name: 'x',
        held: false,
        state: 'failed',
        fence: expect.stringMatching(/^\d+$/) as string,
        lastError: 'exit status 3',
      }),
    ]);
    expect(JSON.parse((await ends(['status', '--store', store, '--namespace', 'other', '--json'])).stdout)).toEqual([]);
  });

  it('says so when there is nothing', async () => {
    expect(await ends(['status', '--store', newStore()])).toMatchObject({
      status: 0,
      stdout: 'Nothing has been locked here yet.\n',
    });
  });

  it('tells of a lock that a newer version has written', async () => {
    const store = newStore();
    expect(await ends(['run', 'newer', '--store', store, '--', 'true'])).toMatchObject({ status: 0 });
    const directory = store.slice('file:'.length);
    const files = readdirSync(directory, { encoding: 'utf8', recursive: true });
    const file = join(
      directory,
      files.find((path) => /newer\.\d+\.lock$/.test(path))!,
    );
    writeFileSync(file, readFileSync(file, 'utf8').replace('"solorun": 1', '"solorun": 2'));
    for (const verb of ['status', 'list']) {
      expect(await ends([verb, '--json', '--store', store])).toEqual({
        status: 0,
        stdout: '[]\n',
        stderr: expect.stringMatching(/^solorun: .*newer.* cannot be listed: .*upgrade/) as string,
      });
    }
  });
});

describe('list', () => {
  it('prints the names, or those that are held', async () => {
    const store = newStore();
    await ends(['run', 'free', '--store', store, '--', 'true']);
    const holder = solorun(['run', 'held', '--store', store, '--', 'sh', '-c', HOLD]);
    await holder.prints(/ready/);
    expect(await ends(['list', '--store', store])).toEqual({ status: 0, stdout: 'free\nheld\n', stderr: '' });
    expect(await ends(['list', '--held', '--store', store, '--json'])).toMatchObject({ stdout: '[\n  "held"\n]\n' });
    holder.kill('SIGKILL');
  });
});

describe('inspect', () => {
  it('shows a lock, and has status 1 for one that never was', async () => {
    const store = newStore();
    await ends(['run', '-x', '--name=-x', '--store', store, '--', 'true']);
    await ends(['run', '--name=-x', '--store', store, '--interval', '1d', '--', 'true']);
    const { status, stdout } = await ends(['inspect', '--store', store, '--', '-x']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^name +-x$/m);
    expect(stdout).toMatch(/^state +idle$/m);
    expect(stdout).toMatch(/^fence +\d+$/m);
    expect(stdout).toMatch(/^occurrence +\S+T00:00:00.000Z, done, attempt 1$/m);
    expect(await ends(['inspect', 'y', '--store', store])).toMatchObject({ status: 1, stdout: '' });
    expect(await ends(['inspect', 'y', '--store', store, '--json'])).toMatchObject({ status: 1, stdout: 'null\n' });
  });
});

describe('release', () => {
  it('refuses what is free, what never was, and what is no number', async () => {
    const store = newStore();
    await ends(['run', 'x', '--store', store, '--', 'true']);
    expect(await ends(['release', 'x', '--fence', '1', '--store', store])).toMatchObject({ status: 1, stdout: '' });
    expect(await ends(['release', 'y', '--fence', '1', '--store', store])).toMatchObject({ status: 1, stdout: '' });
    expect(await ends(['release', 'x', '--fence', 'one', '--store', store])).toMatchObject({ status: 64, stdout: '' });
    expect(await ends(['release', 'x', '--store', store])).toMatchObject({ status: 64, stdout: '' });
  });

  it('finds the lock in its namespace', async () => {
    const store = newStore();
    const terms = ['--store', store, '--namespace', 'billing'];
    const holder = solorun([
      'run',
      'x',
      ...terms,
      '--lease',
      '1s',
      '--grace',
      '100ms',
      '--',
      'sh',
      '-c',
      'echo ready; while :; do sleep 60; done',
    ]);
    await holder.prints(/ready/);
    const { fence } = JSON.parse((await ends(['inspect', 'x', ...terms, '--json'])).stdout) as { fence: string };
    expect(await ends(['release', 'x', '--fence', fence, '--store', store])).toMatchObject({ status: 1 });
    expect(await ends(['release', 'x', '--fence', fence, ...terms, '--json'])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('"released": true'),
    });
    expect(await holder.ended).toMatchObject({ status: 76 });
  });
});
