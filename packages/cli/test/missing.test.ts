import { cpSync, existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { newDirectory, newStore, start, type Ended } from './cli.ts';

const packages = join(import.meta.dirname, '../..');

describe('with no package for servers installed', () => {
  const modules = join(newDirectory(), 'node_modules');
  const ours = join(modules, '@solorun');

  /** As npm installs it; a link would find what is beside its target. */
  function install(name: string): void {
    for (const part of ['bin', 'dist', 'package.json']) {
      if (part !== 'bin' || name === 'cli') cpSync(join(packages, name, part), join(ours, name, part), { recursive: true });
    }
  }

  function run(tool: string, args: readonly string[]): Promise<Ended> {
    return start(process.execPath, [join(ours, 'cli/bin', `${tool}.js`), ...args]).ended;
  }

  beforeAll(() => {
    mkdirSync(ours, { recursive: true });
    for (const name of ['cli', 'core', 'lockfile']) install(name);
    const { resolve } = createRequire(join(packages, 'cli/package.json'));
    const places = resolve.paths('commander')!;
    for (const name of ['commander', 'croner']) {
      symlinkSync(
        places.map((place) => join(place, name)).find((path) => existsSync(path))!,
        join(modules, name),
      );
    }
  });

  it('a directory will do', async () => {
    expect(await run('solorun', ['run', 'x', '--store', newStore(), '--', 'echo', 'ran'])).toMatchObject({ stdout: 'ran\n' });
  });

  it.each([
    ['postgres://app:s3cret@db/app', 'npm install @solorun/postgres pg'],
    ['postgres+lease://app:s3cret@db/app', 'npm install @solorun/postgres pg'],
    ['redis://:s3cret@cache', 'npm install @solorun/redis ioredis'],
  ])('%s says what to install, and the command is not started', async (store, advice) => {
    const ran = await run('solorun', ['run', 'x', '--store', store, '--', 'echo', 'ran']);
    expect(ran).toEqual({ status: 69, stdout: '', stderr: expect.stringMatching(`^solorun: .*${advice} .*\n$`) as string });
    expect(ran.stderr).not.toContain('s3cret');
    const examined = await run('solorun', ['doctor', '--json', '--store', store]);
    expect(examined.status).toBe(69);
    expect(JSON.parse(examined.stdout)).toMatchObject({
      safe: null,
      findings: [{ state: 'unreachable', says: expect.stringContaining(advice) as string }],
    });
  });

  it('withlock says so too', async () => {
    expect(await run('withlock', ['x', '--db', 'postgres://db/app', '--', 'echo', 'ran'])).toMatchObject({
      status: 69,
      stdout: '',
      stderr: expect.stringContaining('npm install @solorun/postgres pg') as string,
    });
  });

  it.each([
    ['postgres', 'postgres://db/app', 'npm install @solorun/postgres pg'],
    ['redis', 'redis://cache', 'npm install @solorun/redis ioredis'],
  ])('the one for %s without its driver is not enough', async (name, store, advice) => {
    install(name);
    expect(await run('solorun', ['run', 'x', '--store', store, '--', 'echo', 'ran'])).toMatchObject({
      status: 69,
      stdout: '',
      stderr: expect.stringContaining(advice) as string,
    });
  });
});
