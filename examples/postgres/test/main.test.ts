import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startPostgres } from '@solorun/servers/postgres';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { atLeast, exactly, report } from '../src/demo/verdict.js';
import { hasPostgres } from './demo.ts';

const program = fileURLToPath(new URL('../src/demo/main.js', import.meta.url));
/** Everything that it makes lies below: it is gone when nothing is left there. */
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-example-'));
  // Started by root, its Postgres runs as another user.
  chmodSync(directory, 0o755);
});
afterEach(() => rmSync(directory, { recursive: true }));

function environment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...process.env, DATABASE_URL: undefined, TMPDIR: directory, ...env };
}

function main(name: string, env: NodeJS.ProcessEnv = {}): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, name], { env: environment(env) }, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode, stdout, stderr }),
    );
  });
}

/** But for the empty cluster that is kept between runs. */
function leftovers(): string[] {
  return readdirSync(directory).filter((name) => !name.startsWith('solorun-servers-'));
}

describe.runIf(hasPostgres)('npm run migrate', () => {
  it('starts a server, tells the story, and leaves nothing behind', { timeout: 60_000 }, async () => {
    const { status, stdout, stderr } = await main('migrate');
    expect(stdout).toContain('The promise was kept.');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(leftovers()).toEqual([]);
  });

  it('takes a database of its own on the server of DATABASE_URL', { timeout: 60_000 }, async () => {
    await using server = await startPostgres();
    const databases = async (): Promise<unknown[]> => {
      const client = new pg.Client({ connectionString: server.url });
      await client.connect();
      const { rows } = await client.query('SELECT datname FROM pg_database ORDER BY 1');
      await client.end();
      return rows;
    };
    const before = await databases();
    const { status, stdout } = await main('migrate', { DATABASE_URL: server.url });
    expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringContaining('The promise was kept.') as string });
    expect(await databases()).toEqual(before);
  });

  it('takes its server and its processes along when it is interrupted', { timeout: 60_000 }, async () => {
    const child = spawn(process.execPath, [program, 'clock'], { env: environment({}), stdio: ['ignore', 'pipe', 'inherit'] });
    let told = '';
    for await (const chunk of child.stdout) {
      told += String(chunk);
      if (told.includes('leading')) break;
    }
    // Under npm a terminal's interrupt arrives twice.
    child.kill('SIGINT');
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([130, null]);
    expect(leftovers()).toEqual([]);
  });
});

it('says which examples there are', async () => {
  expect(await main('backups')).toEqual({
    status: 64,
    stdout: '',
    stderr: 'Which example? There are migrate, clock, upload, backup.\n',
  });
});

it('says so when there is no Postgres to start, and what to do', async () => {
  const other = `--import=data:text/javascript,Object.defineProperty(process,'arch',{value:'s390x'})`;
  const { status, stderr } = await main('migrate', { NODE_OPTIONS: other });
  expect(stderr).toContain('Remedy: run this on Linux x64. Or give a server of yours: DATABASE_URL=postgres://');
  expect(status).toBe(69);
});

it('says what was not kept', () => {
  expect(report([exactly('ticks twice', 0, 0), atLeast('ticks', 7, 5)])).toContain('The promise was kept.');
  expect(report([exactly('ticks twice', 1, 0), atLeast('ticks', 7, 5)])).toMatch(
    /^! {6}1 {2}ticks twice[^]*THE PROMISE WAS BROKEN\.$/,
  );
});
