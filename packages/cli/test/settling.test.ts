import { postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis, type Redis } from '@solorun/servers/redis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ends } from './cli.ts';

const inCi = process.env['CI'] === 'true';
/** Nothing is granted for so long. */
const lease = ['--lease', '1h'];

const policies = [
  [
    'a skip',
    [],
    /skipped: "x" may be held: the store has just come back.*\(a --wait of more than 1h, the --lease, waits for that\)$/,
  ],
  ['a failure', ['--on-busy', 'fail'], /: "x" may be held: the store has just come back.*waits for that\)$/],
  ['a wait', ['--wait', '50ms'], /: "x" may be held: the store has just come back.*waits for that\); gave up after \d/],
] as const;

const noRedis = inCi ? undefined : redisMissing();
describe.skipIf(noRedis !== undefined)(
  `on a Redis that has just been started${noRedis === undefined ? '' : `: SKIPPED: ${noRedis}`}`,
  () => {
    let server: Redis;
    beforeAll(async () => {
      server = await startRedis();
    });
    afterAll(() => server.stop());

    it.each(policies)('%s is told with its reason, and when that is over', async (_, policy, words) => {
      const { status, stdout, stderr } = await ends(['run', 'x', '--store', server.url, ...lease, ...policy, '--', 'echo', 'ran']);
      expect({ status, stdout }).toEqual({ status: 75, stdout: '' });
      const [reason, told] = stderr.trimEnd().split('\n');
      expect(reason).toMatch(/^solorun: Redis has just begun to serve .* granted again in \d+ s\.$/);
      expect(told).toMatch(words);
    });

    it('a run that would be skipped waits for the store, if that takes no longer than a minute', async () => {
      await using another = await startRedis();
      const { status, stdout, stderr } = await ends(['run', 'x', '--store', another.url, '--lease', '3s', '--', 'echo', 'ran']);
      expect({ status, stdout }).toEqual({ status: 0, stdout: 'ran\n' });
      expect(stderr).toMatch(/"x" waits for the store, which has just come back: \d/);
      // All that was to be waited for has been.
      expect(await ends(['run', 'y', '--store', another.url, '--lease', '3s', '--', 'echo', 'ran'])).toMatchObject({ stderr: '' });
    });

    it('?settle=0s in the URL says that nothing can have been forgotten, and all of the tool heeds it', async () => {
      const store = `${server.url}?settle=0s`;
      const ran = await ends(['run', 'y', '--store', store, ...lease, '--', 'echo', 'ran']);
      expect(ran).toEqual({ status: 0, stdout: 'ran\n', stderr: '' });
      expect(await ends(['doctor', '--store', store, ...lease])).toMatchObject({ status: 0, stderr: '' });
      const { stdout } = await ends(['explain', '--store', store]);
      expect(stdout).toContain('may grant a lease that it has forgotten');
      expect(stdout).not.toContain('grants nothing');
    });
  },
);

const noPostgres = inCi ? undefined : postgresMissing();
describe.skipIf(noPostgres !== undefined)(
  `on a Postgres that has come back after a crash${noPostgres === undefined ? '' : `: SKIPPED: ${noPostgres}`}`,
  () => {
    let server: Postgres;
    beforeAll(async () => {
      server = await startPostgres();
      // With tables that were there before.
      await ends(['run', 'x', '--store', server.url, '--', 'true']);
      await server.kill();
      await server.start();
    });
    afterAll(() => server.stop());

    it.each(policies)('%s is told with its reason, and when that is over', async (_, policy, words) => {
      const { status, stdout, stderr } = await ends(['run', 'x', '--store', server.url, ...lease, ...policy, '--', 'echo', 'ran']);
      expect({ status, stdout }).toEqual({ status: 75, stdout: '' });
      const [reason, told] = stderr.trimEnd().split('\n');
      expect(reason).toMatch(/^solorun: postgres-advisory: the server has come back after a crash.* granted again in \d+ s\.$/);
      expect(told).toMatch(words);
    });

    it('?settle=0s in the URL says that nothing can have been forgotten, and all of the tool heeds it', async () => {
      const store = `${server.url}?settle=0s`;
      const ran = await ends(['run', 'y', '--store', store, ...lease, '--', 'echo', 'ran']);
      expect(ran).toEqual({ status: 0, stdout: 'ran\n', stderr: '' });
      expect(await ends(['doctor', '--store', store, ...lease])).toMatchObject({ status: 0, stderr: '' });
      expect((await ends(['explain', '--store', store])).stdout).toContain('(settleMs: 0)');
    });

    it('lease rows have nothing to wait for', async () => {
      const store = server.url.replace(/^postgresql/, 'postgres+lease');
      expect(await ends(['run', 'x', '--store', store, ...lease, '--', 'echo', 'ran'])).toMatchObject({
        status: 0,
        stdout: 'ran\n',
      });
      expect(await ends(['run', 'x', '--store', `${store}?settle=0s`, '--', 'true'])).toMatchObject({
        status: 64,
        stderr: expect.stringContaining('no settle= for postgres+lease://') as string,
      });
    });
  },
);
