import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Client } from 'pg';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { installedVersions, postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';

const opened: { end(): Promise<void> }[] = [];

async function open(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  opened.push(client);
  await client.connect();
  return client;
}

/** The first column of the first row. */
async function ask(client: Client, sql: string): Promise<unknown> {
  const { rows } = await client.query<unknown[]>({ text: sql, rowMode: 'array' });
  return rows[0]?.[0];
}

afterEach(async () => {
  await Promise.allSettled(opened.splice(0).map((client) => client.end()));
});

/** Where one cannot be started, it says so, and fails in CI alone. */
const versions = [13, 14, 16, 18].map((version) => ({ version, missing: postgresMissing(version) }));
for (const { version, missing } of versions) {
  if (missing !== undefined) process.stderr.write(`SKIPPED: Postgres ${version}. ${missing}\n`);
}
const available = versions
  .filter(({ missing }) => missing === undefined || process.env['CI'] === 'true')
  .map(({ version }) => version);

it('all versions are installed that there are packages for', () => {
  expect(installedVersions()).toEqual(versions.filter(({ missing }) => missing === undefined).map(({ version }) => version));
});

describe.each(available)('Postgres %i', (version) => {
  it('starts with the settings and the database asked for, and keeps committed data when it is killed', async () => {
    await using postgres = await startPostgres({ version, database: `the "jobs"`, settings: { work_mem: '5MB' } });
    const client = await open(postgres.url);
    expect(await ask(client, 'SHOW server_version')).toMatch(new RegExp(`^${version}\\.`));
    expect(await ask(client, 'SELECT current_database()')).toBe('the "jobs"');
    expect(await ask(client, 'SHOW work_mem')).toBe('5MB');
    expect(await ask(client, 'SHOW synchronous_commit')).toBe('on');
    await client.query('CREATE TABLE kept AS SELECT 1 AS one');
    const { port, pid } = postgres;
    const lost = new Promise((resolve) => {
      client.once('error', resolve);
    });
    await postgres.kill();
    // As when the machine fails: not a word of leave.
    expect(await lost).toMatchObject({ message: 'Connection terminated unexpectedly' });
    await expect(open(postgres.url)).rejects.toThrow('ECONNREFUSED');
    await postgres.start({ work_mem: '6MB' });
    expect(postgres.port).toBe(port);
    expect(postgres.pid).not.toBe(pid);
    const again = await open(postgres.url);
    expect(await ask(again, 'SELECT one FROM kept')).toBe(1);
    expect(await ask(again, 'SHOW work_mem')).toBe('6MB');
    expect(postgres.log()).toContain('was not properly shut down');
  });

  it('has a standby that streams and can be promoted', { timeout: 60_000 }, async () => {
    await using postgres = await startPostgres({ version });
    const client = await open(postgres.url);
    await client.query('CREATE TABLE streamed AS SELECT 1 AS n');
    const standby = await postgres.standby();
    const reader = await open(standby.url);
    expect(await ask(reader, 'SELECT pg_is_in_recovery()')).toBe(true);
    // What there was before is there at once, what is new follows.
    expect(await ask(reader, 'SELECT count(*)::int FROM streamed')).toBe(1);
    await client.query('INSERT INTO streamed VALUES (2)');
    await vi.waitFor(async () => expect(await ask(reader, 'SELECT count(*)::int FROM streamed')).toBe(2), 10_000);
    await expect(reader.query('INSERT INTO streamed VALUES (3)')).rejects.toMatchObject({ code: '25006' });
    await postgres.kill();
    await standby.promote();
    expect(await ask(reader, 'SELECT pg_is_in_recovery()')).toBe(false);
    await reader.query('INSERT INTO streamed VALUES (3)');
    await postgres.stop();
    expect(existsSync(standby.directory)).toBe(false);
  });
});

describe.runIf(postgresMissing() === undefined || process.env['CI'] === 'true')('a Postgres', () => {
  it('can be frozen: whom it serves it goes on serving, nobody else; or nobody at all', async () => {
    await using postgres = await startPostgres();
    const client = await open(postgres.url);
    postgres.freeze();
    expect(await ask(client, 'SELECT 1')).toBe(1);
    const late = new Client({ connectionString: postgres.url, connectionTimeoutMillis: 200 });
    late.on('error', () => {});
    await expect(late.connect()).rejects.toThrow(/timeout/);
    postgres.thaw();
    await open(postgres.url);

    postgres.freeze({ sessions: true });
    let answered = false;
    const answer = ask(client, 'SELECT 2').then((two) => {
      answered = true;
      return two;
    });
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
    expect(answered).toBe(false);
    postgres.thaw();
    expect(await answer).toBe(2);
  });

  it('is stopped also when it is frozen, and leaves neither processes nor data nor shared memory', async () => {
    const before = segments();
    const postgres = await startPostgres();
    await postgres.restart({ max_connections: 7 });
    expect(await ask(await open(postgres.url), 'SHOW max_connections')).toBe('7');
    postgres.freeze({ sessions: true });
    await postgres.stop();
    await postgres.stop();
    expect(existsSync(postgres.directory)).toBe(false);
    await expect(postgres.start()).rejects.toThrow('start another one');
    const killed = await startPostgres();
    await killed.kill();
    await killed.stop();
    // Others may stop at this moment.
    await vi.waitFor(() => expect(segments().filter((line) => !before.includes(line))).toEqual([]), 10_000);
  });

  it('refuses a wrong password of the role that has one', async () => {
    await using postgres = await startPostgres();
    const secretive = (password: string): string => postgres.urlFor({ user: 'secretive', password });
    await expect(open(secretive('wrong'))).rejects.toMatchObject({ code: '28P01' });
    expect(await ask(await open(secretive('secret')), 'SELECT current_user')).toBe('secretive');
  });

  it('says what it said when it does not start', async () => {
    await expect(startPostgres({ settings: { shared_buffers: 'many' } })).rejects.toThrow(
      /did not start: .*invalid value for parameter "shared_buffers"/s,
    );
  });

  it('gets on with others that start at the same time', async () => {
    const all: Postgres[] = await Promise.all([1, 2, 3, 4].map(() => startPostgres()));
    expect(new Set(all.map(({ port }) => port)).size).toBe(4);
    await Promise.all(all.map((each) => each.stop()));
  });
});

it('a version that there is no package for is refused with the remedy', async () => {
  await expect(startPostgres({ version: 9 })).rejects.toThrow(/Remedy: /);
});

/** The System V segments that nobody is attached to, by the size of Postgres's. */
function segments(): string[] {
  const { stdout } = spawnSync('ipcs', ['-m'], { encoding: 'utf8' });
  return stdout.split('\n').filter((line) => / 56 +0 /.test(line));
}
