import { createRequire } from 'node:module';
import { postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { start, withlock, type Running, type StartOptions } from './cli.ts';

const missing = process.env['CI'] === 'true' ? undefined : postgresMissing();
const original = createRequire(import.meta.url).resolve('advisory-lock/build/bin/withlock.js');

/** The command of the npm package advisory-lock. */
function advisoryLock(args: readonly string[], options?: StartOptions): Running {
  return start(process.execPath, [original, ...args], options);
}

const HOLD = 'echo ready; read line; echo held to the end';

describe.skipIf(missing !== undefined)(`withlock${missing === undefined ? '' : `: SKIPPED: ${missing}`}`, () => {
  let server: Postgres;
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterAll(() => server.stop());

  it.each([
    ['ours waits for the one of advisory-lock', advisoryLock, withlock],
    ['the one of advisory-lock waits for ours', withlock, advisoryLock],
    ['ours waits for ours', withlock, withlock],
  ])('%s', async (name, first, second) => {
    const env = { PG_CONNECTION_STRING: server.url };
    const holder = first([name, '--', 'sh', '-c', HOLD], { env });
    await holder.prints(/ready/);
    const waiter = second([name, '--db', server.url, '--', 'sh', '-c', 'echo second']);
    const other = second([`another ${name}`, '--db', server.url, '--', 'sh', '-c', 'echo other']);
    // By the time somebody who came later and wants something else has run, it had its chance to barge in.
    expect(await other.ended).toMatchObject({ status: 0, stdout: expect.stringContaining('other') });
    const won = await Promise.race([
      waiter.prints(/second/).then(() => 'overlap'),
      new Promise((r) => setTimeout(r, 500, 'waits')),
    ]);
    expect(won).toBe('waits');
    holder.write('\n');
    expect(await holder.ended).toMatchObject({ status: 0, stdout: expect.stringContaining('held to the end') });
    expect(await waiter.ended).toMatchObject({ status: 0, stdout: expect.stringContaining('second') });
  });

  it('prints nothing of its own on stdout, and passes the exit status on', async () => {
    const env = { PG_CONNECTION_STRING: server.url };
    expect(await withlock(['x', '--', 'sh', '-c', 'echo out; exit 7'], { env }).ended).toEqual({
      status: 7,
      stdout: 'out\n',
      stderr: '',
    });
    expect(await withlock(['x', '--', 'sh', '-c', 'kill -KILL $$'], { env }).ended).toMatchObject({ status: 137 });
    expect(await withlock(['x', '--', 'no-such-command'], { env }).ended).toMatchObject({ status: 127 });
  });

  it('takes a password out of the command line, which others can read', async () => {
    const url = server.urlFor({ user: 'secretive', password: 'secret' });
    const { status, stdout } = await withlock(['hush', '--db', url, '--', 'sh', '-c', 'tr "\\0" " " < /proc/$PPID/cmdline']).ended;
    expect({ status, stdout: stdout.trim() }).toEqual({ status: 0, stdout: 'withlock "hush"' });
  });

  it('the command goes when withlock is told to', async () => {
    const running = withlock([
      'x',
      `--db=${server.url}`,
      '--',
      'sh',
      '-c',
      "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done",
    ]);
    await running.prints(/ready/);
    running.kill('SIGTERM');
    expect(await running.ended).toMatchObject({ status: 3, stdout: 'ready\nbye\n' });
  });

  it.each([
    ['no name', ['--', 'true']],
    ['two names', ['x', 'y', '--', 'true']],
    ['no command', ['x']],
    ['no database', ['x', '--', 'true']],
    ['an option that it does not know', ['x', '--wait', '--', 'true']],
  ])('is not content with %s', async (_, args) => {
    const ended = await withlock(args).ended;
    expect(ended).toMatchObject({ status: 64, stdout: '', stderr: expect.stringContaining('Usage: withlock') });
  });

  it.each([
    ['--db', ['x', '--db', '', '--', 'true'], {}],
    ['--db', ['x', '--db=', '--', 'true'], { PG_CONNECTION_STRING: 'postgres://db/app' }],
    ['--db', ['x', '--db', '--', 'true'], {}],
    ['PG_CONNECTION_STRING', ['x', '--', 'true'], { PG_CONNECTION_STRING: '' }],
  ])('names what is empty: %s, given %j and %j', async (what, args, env) => {
    const ended = await withlock(args, { env }).ended;
    expect(ended).toMatchObject({ status: 64, stdout: '', stderr: expect.stringMatching(`^withlock: ${what} is empty`) });
  });
});
