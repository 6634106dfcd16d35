import { pgbouncerMissing, startPgbouncer } from '@solorun/servers/pgbouncer';
import { postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis } from '@solorun/servers/redis';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ends, newStore, solorun } from './cli.ts';

interface Report {
  readonly store: string;
  readonly safe: boolean | null;
  readonly findings: readonly { readonly check: string; readonly state: string; readonly says: string }[];
  readonly explanation: string;
}

const inCi = process.env['CI'] === 'true';

async function examine(
  store: string,
  more: readonly string[] = [],
): Promise<{ status: number | string; report: Report; states: Record<string, string> }> {
  const { status, stdout } = await ends(['doctor', '--json', '--store', store, ...more]);
  const report = JSON.parse(stdout) as Report;
  return { status, report, states: Object.fromEntries(report.findings.map(({ check, state }) => [check, state])) };
}

describe('doctor', () => {
  it('finds a directory safe, and says what it is good for', async () => {
    const { status, report, states } = await examine(newStore());
    expect(status).toBe(0);
    expect(states).toMatchObject({
      directory: 'ok',
      lock: 'ok',
      renewal: 'ok',
      record: 'ok',
      clock: 'ok',
      fence: 'ok',
      reach: 'note',
    });
    expect(report.explanation).toContain('G1 Exclusion');
  });

  it('finds memory unsafe', async () => {
    expect(await examine('memory:')).toMatchObject({ status: 1, states: { reach: 'unsafe' } });
  });

  it('prints a page for people: the plain thing first, and then what was tried', async () => {
    const store = newStore();
    const { status, stdout, stderr } = await ends(['doctor', '--store', store]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [answer, blank, shown] = stdout.split('\n');
    expect(answer).toBe('Fine for one machine. Processes of this machine are kept apart; several machines need a database.');
    expect({ blank, shown }).toEqual({ blank: '', shown: store });
    expect(stdout).toMatch(/^ok {6}fence +grew from \d+ to \d+$/m);
    expect(stdout).not.toContain('G1 Exclusion');
  });

  it('prints the table of guarantees at the end with --verbose', async () => {
    const { status, stdout, stderr } = await ends(['doctor', '--verbose', '--store', newStore()]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(
      /^Fine for one machine\. [^]*^ok {6}fence +grew from \d+ to \d+$[^]*\n\nlockfile, lease 60 s\n[^]*G1 Exclusion/m,
    );
  });

  it('says first why a store is not safe', async () => {
    const { status, stdout } = await ends(['doctor', '--store', 'memory:']);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^Not safe\. Reach: two processes are not kept apart: this store is for tests\.\n\nmemory:\n/);
  });

  it('says what is wrong with a server that is not there, without the password', async () => {
    const { status, stdout, stderr } = await ends(['doctor', '--store', 'postgres://u:s3cret@127.0.0.1:1/db']);
    expect(status).toBe(69);
    expect(stdout).toMatch(/^Not known\. Server: cannot be reached: .*ECONNREFUSED.*\.\n\n/);
    expect(stdout).toMatch(/^FAILED {2}server +cannot be reached: .*ECONNREFUSED/m);
    expect(stderr).toBe('solorun: this store could not be asked: whether it is safe is not known\n');
    expect(stdout).not.toContain('s3cret');
  });

  it.each(['postgres://127.0.0.1:1/db', 'postgres+lease://127.0.0.1:1/db', 'redis://127.0.0.1:1', 'file:/dev/null/locks'])(
    'does not call %s unsafe, which cannot be asked',
    async (store) => {
      const { status, report, states } = await examine(store);
      expect({ status, safe: report.safe }).toEqual({ status: 69, safe: null });
      expect(Object.values(states)).toContain('unreachable');
      expect(Object.values(states)).not.toContain('unsafe');
    },
  );

  it('leaves nothing behind in status and list, in whatever namespace', async () => {
    const store = newStore();
    for (const namespace of [[], ['--namespace', 'billing']]) {
      expect(await ends(['doctor', '--store', store, ...namespace])).toMatchObject({ status: 0 });
      expect(await ends(['list', '--store', store, ...namespace])).toEqual({ status: 0, stdout: '', stderr: '' });
    }
    expect(JSON.parse((await ends(['status', '--store', store, '--json'])).stdout)).toEqual([]);
    // The record can be inspected all the same, and one that is held is shown.
    expect(await ends(['inspect', 'solorun doctor', '--store', store])).toMatchObject({ status: 0 });
    const hung = solorun(['run', 'solorun doctor', '--store', store, '--', 'sh', '-c', 'echo ready; read line']);
    await hung.prints(/ready/);
    expect(await ends(['list', '--store', store])).toMatchObject({ stdout: 'solorun doctor\n' });
    hung.kill('SIGKILL');
  });
});

const noPostgres = inCi ? undefined : postgresMissing();
describe.skipIf(noPostgres !== undefined)(`doctor on Postgres${noPostgres === undefined ? '' : `: SKIPPED: ${noPostgres}`}`, () => {
  let server: Postgres;
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterAll(() => server.stop());

  it.each(['postgres', 'postgres+lease'])('finds %s:// safe', async (scheme) => {
    const { status, report, states } = await examine(server.url.replace(/^postgres(?:ql)?/, scheme));
    expect(status).toBe(0);
    expect(states).toMatchObject({ server: 'ok', role: 'ok', rights: 'ok', pooler: 'ok', lock: 'ok', fence: 'ok', reach: 'ok' });
    expect(report.store).toBe(`${scheme}://127.0.0.1:${server.port}/postgres`);
  });

  it('finds a role unsafe that can keep no records', async () => {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    await client.query('CREATE ROLE visitor LOGIN');
    await client.query('CREATE DATABASE locked');
    await client.end();
    const url = server.urlFor({ user: 'visitor', database: 'locked' });
    const { status, states } = await examine(url);
    expect({ status, states }).toMatchObject({ status: 1, states: { rights: 'unsafe' } });
  });

  it('finds a standby unsafe', async () => {
    const standby = await server.standby();
    const { status, states } = await examine(standby.url);
    expect({ status, states }).toMatchObject({ status: 1, states: { role: 'unsafe' } });
    const pages = await ends(['doctor', '--store', standby.url]);
    expect(pages.stdout).not.toContain('{');
    expect(pages.stdout).toMatch(/^Not safe\. Role: a standby/);
  });

  it.each(['postgres', 'postgres+lease'])(
    'looks at the primary among the hosts of %s://, and tells of the others',
    async (scheme) => {
      const standby = await server.standby();
      const dead = 1;
      const hosts = [dead, standby.port, server.port].map((port) => `127.0.0.1:${port}`);
      const { status, report, states } = await examine(`${scheme}://postgres@${hosts.join(',')}/postgres`);
      expect({ status, states }).toMatchObject({
        status: 0,
        states: { role: 'ok', lock: 'ok', [`host ${hosts[0]}`]: 'note', [`host ${hosts[1]}`]: 'ok' },
      });
      expect(report.findings).toContainEqual({ check: `host ${hosts[1]}`, state: 'ok', says: 'a standby' });
      // And where the environment names the hosts.
      const [PGHOST, PGPORT] = ['127.0.0.1,127.0.0.1', `${dead},${server.port}`];
      const inherited = await ends(['doctor', '--store', `${scheme}://postgres@/postgres`], { env: { PGHOST, PGPORT } });
      expect(inherited).toMatchObject({ status: 0, stdout: expect.stringMatching(/ok +role +a primary/) as string, stderr: '' });
      expect(inherited.stdout).toMatch(
        /^Fine for a fleet\. All machines that use this store are kept apart\. Read the note below\.\n/,
      );
    },
  );

  it('finds two primaries unsafe, and hosts of which none answers not known', async () => {
    await using other = await startPostgres();
    const dead = 1;
    const store = (...ports: readonly number[]): string =>
      `postgres://postgres@${ports.map((port) => `127.0.0.1:${port}`).join(',')}/postgres`;
    expect(await examine(store(server.port, other.port))).toMatchObject({
      status: 1,
      states: { role: 'ok', [`host 127.0.0.1:${other.port}`]: 'unsafe' },
    });
    expect(await examine(store(server.port, server.port))).toMatchObject({ status: 0 });
    const { status, states } = await examine(store(dead, dead));
    expect({ status, states }).toEqual({ status: 69, states: { client: 'ok', [`server 127.0.0.1:${dead}`]: 'unreachable' } });
  });

  const noPooler = inCi ? undefined : pgbouncerMissing();
  describe.skipIf(noPooler !== undefined)(`behind a pooler${noPooler === undefined ? '' : `: SKIPPED: ${noPooler}`}`, () => {
    // Where it matters, the way out is a store that can be written down here.
    it.each([
      ['postgres', 'transaction', 1, { pooler: 'note', lock: 'unsafe' }, /postgres\+lease:/],
      ['postgres', 'session', 0, { pooler: 'note', lock: 'ok' }, /postgres\+lease:/],
      ['postgres+lease', 'transaction', 0, { pooler: 'note', lock: 'ok' }, /^one stands between$/],
    ] as const)('says of %s:// in %s mode whether it is safe', async (scheme, mode, status, states, words) => {
      await using pooler = await startPgbouncer({ postgres: server, mode });
      const examined = await examine(pooler.url.replace(/^postgres(?:ql)?/, scheme));
      expect(examined).toMatchObject({ status, states });
      expect(examined.report.findings).toContainEqual({
        check: 'pooler',
        state: 'note',
        says: expect.stringMatching(words) as string,
      });
    });
  });
});

const noRedis = inCi ? undefined : redisMissing();
describe.skipIf(noRedis !== undefined)(`doctor on Redis${noRedis === undefined ? '' : `: SKIPPED: ${noRedis}`}`, () => {
  it('finds a server safe, and one unsafe that throws keys away', async () => {
    await using server = await startRedis();
    const { status, states } = await examine(`${server.url}?settle=0s`);
    expect({ status, states }).toMatchObject({
      status: 0,
      states: { server: 'ok', role: 'ok', memory: 'ok', lock: 'ok', fence: 'ok' },
    });
    await using evicting = await startRedis({ settings: { maxmemory: '10mb', 'maxmemory-policy': 'allkeys-lru' } });
    const examined = await examine(evicting.url);
    expect(examined).toMatchObject({ status: 1, states: { memory: 'unsafe' } });
    // What is advised can be done here, where there is only a URL.
    const refused = await ends(['run', 'x', '--store', evicting.url, '--', 'true']);
    expect(refused).toMatchObject({ status: 64, stderr: expect.stringContaining('noeviction') as string });
    expect(refused.stderr + JSON.stringify(examined.report.findings.map(({ says }) => says))).not.toContain('{');
  });

  it('tells a wrong password from a role that may not ask for everything', async () => {
    await using server = await startRedis();
    const client = new Redis(server.url);
    await client.call('ACL', 'SETUSER', 'modest', 'on', '>s3cret', '~solorun:*', '&solorun:*', '+@all', '-info');
    client.disconnect();
    const urlFor = (password: string): string => server.url.replace('redis://', `redis://modest:${password}@`);
    const modest = await examine(`${urlFor('s3cret')}?settle=0s`);
    expect(modest).toMatchObject({ status: 0, states: { server: 'note', lock: 'ok' } });
    const refused = await examine(urlFor('wr0ng'));
    expect(refused.status).toBe(69);
    expect(refused.report.findings).toContainEqual({
      check: 'server',
      state: 'unreachable',
      says: expect.stringContaining('WRONGPASS') as string,
    });
    expect(JSON.stringify(refused)).not.toContain('wr0ng');
  });
});

describe('explain', () => {
  it('says first what the store is fine for, and what would break it', async () => {
    const { status, stdout, stderr } = await ends(['explain', '--store', newStore()]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [store, first, ...rest] = stdout.split('\n');
    expect(store).toMatch(/^file:/);
    expect(first).toMatch(/^Fine for one machine\. /);
    expect(rest.join('\n')).toMatch(/Failover at worst: .*\n {2}Mind: /s);
    expect(stdout).not.toContain('G1 Exclusion');
  });

  it('prints the table of guarantees after that with --verbose', async () => {
    const { stdout } = await ends(['explain', '--verbose', '--store', newStore()]);
    expect(stdout).toMatch(/Fine for one machine\. .*Mind: .*\n {2}G1 Exclusion: .*\n {2}G8 Fail closed: /s);
  });
});
