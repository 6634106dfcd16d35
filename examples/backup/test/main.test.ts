import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { postgresMissing, startPostgres } from '@solorun/servers/postgres';
import { redisMissing } from '@solorun/servers/redis';

const program = fileURLToPath(new URL('../src/main.js', import.meta.url));
/** Everything that it makes lies below: it is gone when nothing is left there. */
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-example-'));
  // Started by root, the Postgres of its own runs as another user.
  chmodSync(directory, 0o755);
});
afterEach(() => rmSync(directory, { recursive: true }));

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function main(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [program, ...args],
      { env: { ...process.env, TMPDIR: directory, ...env } },
      (_error, stdout, stderr) => resolve({ status: child.exitCode, stdout, stderr }),
    );
  });
}

/** But for the empty cluster that is kept between runs. */
function leftovers(): string[] {
  return readdirSync(directory).filter((name) => !name.startsWith('solorun-servers-'));
}

/** The command lines of all processes. */
function processes(): string {
  return execFileSync('ps', ['-A', '-ww', '-o', 'args='], { encoding: 'utf8' });
}

const noPostgres = postgresMissing() !== undefined;
const noRedis = redisMissing() !== undefined && process.env['CI'] !== 'true';
const stores = ['file', ...(noPostgres ? [] : ['postgres', 'postgres+lease']), ...(noRedis ? [] : ['redis'])];

it.each(stores)(
  'backs up each tick once while replicas are killed and frozen, and leaves nothing behind: %s',
  { timeout: 120_000 },
  async (store) => {
    const { status, stdout, stderr } = await main(['--seconds', '10', ...(store === 'file' ? [] : ['--store', store])]);
    expect(stdout).toContain('duplicates 0');
    expect(stdout).toContain('overlaps 0');
    expect(stdout).toMatch(/recovered [1-9]/);
    expect(stdout).toContain('is killed (SIGKILL) in the middle of a backup');
    expect(stdout).toContain('finds its lease lost and stops');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(leftovers()).toEqual([]);
    expect(processes()).not.toContain(directory);
  },
);

it.skipIf(noPostgres)('takes its server and its replicas along when it is interrupted', { timeout: 60_000 }, async () => {
  const child = spawn(process.execPath, [program, '--store', 'postgres'], {
    env: { ...process.env, TMPDIR: directory },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const chunk of child.stdout) if (String(chunk).includes('are up')) break;
  expect(processes()).toContain(directory);
  // Under npm a terminal's interrupt arrives twice.
  child.kill('SIGINT');
  child.kill('SIGINT');
  const [status, signal] = await once(child, 'exit');
  expect({ status, signal }).toEqual({ status: 130, signal: null });
  expect(leftovers()).toEqual([]);
  expect(processes()).not.toContain(directory);
});

it.skipIf(noPostgres).each(['postgres', 'postgres+lease'])(
  'runs on a server of the user, as %s, and shows its password to nobody',
  { timeout: 60_000 },
  async (kind) => {
    await using server = await startPostgres();
    const url = server.urlFor({ password: 'open-sesame' }).replace(/^\w+/, kind);
    const child = spawn(process.execPath, [program], {
      env: { ...process.env, TMPDIR: directory, SOLORUN_STORE: url },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let told = '';
    child.stderr.on('data', (chunk) => (told += String(chunk)));
    for await (const chunk of child.stdout) {
      told += String(chunk);
      if (told.includes('read back')) break;
    }
    const seen = processes();
    child.kill('SIGTERM');
    await once(child, 'exit');
    expect(told).toContain(`Locks: ${kind}://postgres@127.0.0.1:${server.port}/postgres\n`);
    expect(told).not.toContain('open-sesame');
    expect(seen).toContain(directory);
    expect(seen).not.toContain('open-sesame');
  },
);

it('says so when there is no Postgres to start, and what to do', async () => {
  const other = `--import=data:text/javascript,Object.defineProperty(process,'arch',{value:'s390x'})`;
  const { status, stdout, stderr } = await main(['--store', 'postgres'], { NODE_OPTIONS: other });
  expect(stderr).toContain('Remedy: run this on Linux x64. Or give a server of yours: --store postgres://');
  expect({ status, stdout }).toEqual({ status: 69, stdout: '' });
});

it.each([
  ['postgres', 'app'],
  ['postgres+lease', 'app'],
  ['redis', '0'],
])('says so when the server cannot be reached: %s', async (kind, database) => {
  const { status, stdout, stderr } = await main([], { SOLORUN_STORE: `${kind}://me:open-sesame@127.0.0.1:1/${database}` });
  expect(stderr).toMatch(/: cannot inspect "example-backup": .*ECONNREFUSED/);
  expect(stderr).not.toContain('open-sesame');
  expect({ status, stdout }).toEqual({ status: 69, stdout: '' });
  expect(leftovers()).toEqual([]);
});

it('explains itself', async () => {
  const { status, stdout } = await main(['--help']);
  expect(status).toBe(0);
  for (const option of ['--replicas', '--seconds', '--store', '--keep']) expect(stdout).toContain(option);
});

it.each([
  [['--store', 'mysql://me:open-sesame@localhost/app'], 'This kind of store is not known: "mysql". What there is: file:DIR'],
  [['--store', 'me:open-sesame@localhost'], 'This kind of store is not known: "me".'],
  [['--store', 'postgres:open-sesame'], 'The address of the Postgres server cannot be understood.'],
  [['--store', 'redis:open-sesame'], 'The address of the Redis server cannot be understood.'],
  [['--store', 'file:'], 'needs a directory'],
  [['--replicas', '1'], '--replicas is a whole number from 2 to 7, not 1.'],
  [['--seconds', 'ten'], '--seconds is a whole number from 10 to 600, not ten.'],
  [['--replica', '3'], "Unknown option '--replica'"],
])('refuses %j', async (args, message) => {
  const { status, stdout, stderr } = await main(args);
  expect(status).toBe(64);
  expect(stderr).toContain(message);
  expect(stderr).not.toContain('open-sesame');
  expect(stdout).toBe('');
});
