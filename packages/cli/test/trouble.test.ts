import { PoolerDetectedError } from '@solorun/postgres';
import { redisMissing, startRedis } from '@solorun/servers/redis';
import { describe, expect, it } from 'vitest';
import { tell } from '../src/trouble.ts';
import { ends } from './cli.ts';

const noRedis = process.env['CI'] === 'true' ? undefined : redisMissing();

describe('what a provider advises', () => {
  it('can be done on a command line, where there are no functions', () => {
    const { status, message } = tell(new PoolerDetectedError('postgres-advisory', 'the connection goes through a pooler'));
    expect({ status, message }).toEqual({ status: 69, message: expect.stringContaining('use postgres+lease://') as string });
    expect(message).not.toContain('postgresLease');
  });

  it.skipIf(noRedis !== undefined)(
    `holds no options of a program, on a Redis that is a replica${noRedis === undefined ? '' : `: SKIPPED: ${noRedis}`}`,
    async () => {
      await using primary = await startRedis();
      await using replica = await primary.replica();
      const refused = await ends(['run', 'x', '--store', replica.url, '--', 'true']);
      expect(refused).toMatchObject({ status: 69, stderr: expect.stringContaining('connect to the primary') as string });
      expect(refused.stderr).not.toContain('{');
      const examined = await ends(['doctor', '--store', replica.url]);
      expect(examined).toMatchObject({ status: 1, stdout: expect.stringMatching(/^UNSAFE {2}role/m) as string });
    },
  );
});
