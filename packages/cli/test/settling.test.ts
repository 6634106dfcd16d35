import { redisMissing, startRedis, type Redis } from '@solorun/servers/redis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ends } from './cli.ts';

const missing = process.env['CI'] === 'true' ? undefined : redisMissing();

describe.skipIf(missing !== undefined)(
  `on a Redis that has just been started${missing === undefined ? '' : `: SKIPPED: ${missing}`}`,
  () => {
    // Nothing is granted here for so long.
    const lease = ['--lease', '1h'];
    let server: Redis;
    beforeAll(async () => {
      server = await startRedis();
    });
    afterAll(() => server.stop());

    it.each([
      ['a skip', [], /skipped: "x" may be held/],
      ['a failure', ['--on-busy', 'fail'], /"x" may be held/],
      ['a wait', ['--wait', '50ms'], /gave up after/],
    ])('%s is told with its reason, and when that is over', async (_, policy, words) => {
      const { status, stdout, stderr } = await ends(['run', 'x', '--store', server.url, ...lease, ...policy, '--', 'echo', 'ran']);
      expect({ status, stdout }).toEqual({ status: 75, stdout: '' });
      const [reason, told] = stderr.trimEnd().split('\n');
      expect(reason).toMatch(/^solorun: Redis has just begun to serve .* granted again in \d+ s\.$/);
      expect(told).toMatch(words);
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
