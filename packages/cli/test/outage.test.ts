import { startProxy } from '@solorun/servers/network';
import { postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ends, solorun } from './cli.ts';

const missing = process.env['CI'] === 'true' ? undefined : postgresMissing();

describe('a store that is not up', () => {
  let server: Postgres | undefined;
  let store = '';
  beforeAll(async () => {
    if (missing !== undefined) return;
    server = await startPostgres();
    store = server.url.replace(/^postgresql/, 'postgres+lease');
    await server.kill();
  });
  beforeEach(({ skip }) => {
    if (missing !== undefined) skip(missing);
  });
  afterAll(() => server?.stop());

  it('ends a run that skips, and one that was told to fail, with status 69', async () => {
    for (const more of [[], ['--wait', '1m', '--on-outage', 'fail']]) {
      const ended = await ends(['run', 'x', '--store', store, ...more, '--', 'echo', 'ran']);
      expect(ended).toMatchObject({ status: 69, stdout: '', stderr: expect.stringContaining('ECONNREFUSED') });
    }
  });

  it('is asked again for as long as was said, and no longer', async () => {
    const ended = await ends(['run', 'x', '--store', store, '--outage', '300ms', '--', 'echo', 'ran']);
    expect(ended).toMatchObject({ status: 69, stdout: '' });
    expect(ended.stderr).toMatch(/^solorun: .*ECONNREFUSED.*; asking again \(--on-outage\)\nsolorun: .*ECONNREFUSED.*\n$/);
  });

  it('is not asked again with options that contradict each other', async () => {
    const ended = await ends(['run', 'x', '--store', store, '--outage', '1m', '--on-outage', 'fail', '--', 'echo', 'ran']);
    expect(ended).toMatchObject({ status: 64, stderr: expect.stringContaining('--on-outage retry') });
  });

  it('is waited for, together with the lock', async () => {
    const waiting = [
      ['--wait', '10m'],
      ['--interval', '1d', '--on-busy', 'standby'],
      ['--outage', '10m'],
    ].map((more, n) => solorun(['run', `x${n}`, '--store', store, ...more, '--', 'echo', 'ran']));
    await Promise.all(waiting.map((each) => each.prints(/asking again/, 'stderr')));
    await server!.start();
    expect(await Promise.all(waiting.map(({ ended }) => ended))).toMatchObject(waiting.map(() => ({ status: 0, stdout: 'ran\n' })));
  });
});

describe.skipIf(missing !== undefined)(
  `a store that refuses the login${missing === undefined ? '' : `: SKIPPED: ${missing}`}`,
  () => {
    it.each(['postgres', 'postgres+lease'])('is not asked again, with %s://', async (scheme) => {
      await using server = await startPostgres();
      const store = server.urlFor({ user: 'secretive', password: 'wr0ng' }).replace(/^postgresql/, scheme);
      const ended = await ends(['run', 'x', '--store', store, '--wait', '10m', '--', 'echo', 'ran']);
      expect(ended).toMatchObject({ status: 69, stdout: '' });
      expect(ended.stderr).toMatch(/^solorun: [^\n]*password authentication failed[^\n]*\n$/);
      expect(ended.stderr).not.toContain('wr0ng');
    });
  },
);

describe.skipIf(missing !== undefined)(
  `a store on several hosts, of which the first is dead${missing === undefined ? '' : `: SKIPPED: ${missing}`}`,
  () => {
    it.each(['postgres', 'postgres+lease'])('runs on the next one at the first try, with %s://', async (scheme) => {
      await using server = await startPostgres();
      await using dead = await startProxy(server);
      dead.cut();
      const store = `${scheme}://postgres@127.0.0.1:${dead.port},127.0.0.1:${server.port}/postgres`;
      expect(await ends(['run', 'x', '--store', store, '--', 'echo', 'ran'])).toEqual({ status: 0, stdout: 'ran\n', stderr: '' });
    });
  },
);
