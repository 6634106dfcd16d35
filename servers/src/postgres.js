// @ts-check
// Postgres, of several versions, on data of its own that goes when it stops.

import { spawn } from 'node:child_process';
import {
  chownSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { binaries, command, identity } from './binaries.js';
import { wallClock } from './clock.js';
import { guard } from './guard.js';
import { freePort } from './port.js';
import { codeOf, processesIn, removeNow, signalAll } from './processes.js';
import { template } from './template.js';

export { installedVersions, postgresMissing } from './binaries.js';

/** @typedef {Readonly<Record<string, string | number | boolean>>} Settings */

/**
 * @typedef {object} PostgresOptions
 * @property {number} [version] The major version; see `installedVersions()`. Default 18.
 * @property {Settings} [settings] What goes into postgresql.conf, over the defaults here.
 * @property {string} [database] A database to create, and the one of `url`. Default `postgres`.
 * @property {number} [clockAheadMs] It has a wall clock of its own, which is ahead of ours by so much at first, or behind if negative.
 */

/**
 * @typedef {object} UrlParts
 * @property {string} [user] Default `postgres`, a superuser. `secretive` is the one whose password, `secret`, is asked for.
 * @property {string} [password]
 * @property {string} [database]
 * @property {string} [host] Default 127.0.0.1.
 * @property {number} [port] Default the server's; a proxy's or a pooler's in front of it.
 */

/**
 * A server.
 *
 * @typedef {object} PostgresServer
 * @property {number} version The major version.
 * @property {number} port
 * @property {string} database
 * @property {string} url For the superuser.
 * @property {string} directory The data. Its socket lies in it too: `host` for a client that must not go through the network.
 * @property {number} pid The postmaster's, also after it has ended.
 * @property {() => string} log All it has written.
 * @property {(parts?: UrlParts) => string} urlFor
 * @property {() => Promise<void>} stop Ends it (a fast shutdown) and removes the data. Twice is quiet.
 * @property {(settings?: Settings) => Promise<void>} restart A fast shutdown and a start, with further settings.
 * @property {() => Promise<void>} kill SIGKILL to all of its processes, as when the machine fails; all are gone then, the data stay.
 * @property {(settings?: Settings) => Promise<void>} start After `kill()`: again, on the same port and data.
 * @property {(which?: { sessions?: boolean }) => void} freeze Stops the postmaster: no new session. With `sessions`, all its processes.
 * @property {() => void} thaw
 * @property {(aheadMs: number) => void} setClock Its wall clock is ahead of ours by so much from now on, or behind; only with `clockAheadMs`.
 * @property {(settings?: Settings) => Promise<Standby>} standby A hot standby that streams from this one. Stops with it.
 */

/** @typedef {PostgresServer & AsyncDisposable} Postgres */
/** @typedef {Postgres & { readonly promote: () => Promise<void> }} Standby */

/** @type {Settings} */
const defaults = {
  listen_addresses: '127.0.0.1',
  // Nothing here outlives the machine; that a commit is waited for is left as users have it.
  fsync: false,
  full_page_writes: false,
  synchronous_commit: true,
  shared_buffers: '16MB',
  max_connections: 100,
  wal_level: 'replica',
  // A standby starts from the empty cluster and has all that ever happened streamed to it.
  wal_keep_size: '4GB',
  // When it asks a moment too early it would wait for 5 s.
  wal_retrieve_retry_interval: '50ms',
  // In the data directory, where it goes with the data, and not in /dev/shm.
  dynamic_shared_memory_type: 'mmap',
};

/**
 * Starts a server on 127.0.0.1 that is ours alone.
 *
 * @param {PostgresOptions} [options]
 * @returns {Promise<Postgres>}
 */
export async function startPostgres({ version = 18, settings = {}, database = 'postgres', clockAheadMs } = {}) {
  const postgres = await launch(version, { ...defaults, ...settings }, database, { clockAheadMs });
  if (database === 'postgres') return postgres;
  try {
    await ask(postgres.urlFor({ database: 'postgres' }), `CREATE DATABASE "${database.replaceAll('"', '""')}"`);
  } catch (error) {
    await postgres.stop();
    throw error;
  }
  return postgres;
}

/**
 * @param {number} version
 * @param {Settings} settings
 * @param {string} database
 * @param {{ isStandby?: boolean, clockAheadMs?: number | undefined }} [more]
 * @returns {Promise<Standby>}
 */
async function launch(version, settings, database, { isStandby = false, clockAheadMs } = {}) {
  const { bin } = binaries(version);
  // Real, because that is how the kernel calls a process's directory.
  const directory = mkdtempSync(join(realpathSync(home(settings)), 'solorun-postgres-'));
  const forget = guard({ directory });
  /** @type {import('./clock.js').WallClock | undefined} */
  let clock;
  // A socket's path has about 103 bytes, less than the path of some temporary directories.
  const sockets = Buffer.byteLength(directory) < 85 ? directory : '';
  const logFile = join(directory, 'server.log');
  let port = await freePort();
  let current = settings;
  /** @type {import('node:child_process').ChildProcess | undefined} */
  let child;
  let ended = Promise.resolve();
  let pid = 0;
  let stopped = false;
  /** @type {Set<Standby>} */
  const standbys = new Set();

  let said = '';
  const log = () => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : said);

  /** @param {Settings} further */
  const start = async (further = {}) => {
    if (stopped) throw new Error('This Postgres was stopped, and its data are gone: start another one.');
    if (child !== undefined) throw new Error('This Postgres is running.');
    current = { ...current, ...further };
    give(join(directory, 'solorun.conf'), configuration({ ...current, port, unix_socket_directories: sockets }));
    const before = log().length;
    const output = openSync(logFile, 'a');
    // Its processes are known by their working directory, so it starts there.
    const postmaster = spawn(join(bin, 'postgres'), ['-D', directory], {
      ...identity,
      cwd: directory,
      detached: true,
      stdio: ['ignore', output, output],
      env: { ...process.env, LC_ALL: 'C', ...clock?.env },
    });
    closeSync(output);
    postmaster.unref();
    child = postmaster;
    pid = postmaster.pid ?? pid;
    ended = new Promise((resolve) => {
      const over = () => {
        if (child === postmaster) child = undefined;
        resolve();
      };
      postmaster.once('error', over).once('exit', over);
    });
    for (const deadline = performance.now() + 60_000; !isReady(directory, postmaster.pid); await sleep(5)) {
      if (child === undefined) throw new Error(`Postgres ${version} did not start: ${log().slice(before)}`);
      if (performance.now() > deadline) throw new Error(`Postgres ${version} is not ready: ${log().slice(before)}`);
    }
  };

  /** Until the postmaster has ended. A child that nobody waits for does not keep this process from ending; this one does. */
  const hasEnded = async () => {
    child?.ref();
    await ended;
  };

  /** @param {NodeJS.Signals} signal */
  const end = async (signal) => {
    if (child === undefined) return;
    signalAll(processesIn(directory), 'SIGCONT');
    child.kill(signal);
    const patience = setTimeout(() => signalAll(processesIn(directory), 'SIGKILL'), 30_000);
    await hasEnded();
    clearTimeout(patience);
  };

  const kill = async () => {
    // All stand still before the first one dies: otherwise the others notice and take their leave of their clients.
    child?.kill('SIGSTOP');
    signalAll(processesIn(directory), 'SIGSTOP');
    for (;;) {
      const pids = processesIn(directory);
      if (pids.length === 0) break;
      signalAll(pids, 'SIGKILL');
      await sleep(2);
    }
    await hasEnded();
  };

  const discard = async () => {
    stopped = true;
    await kill();
    said = log();
    removeNow(directory);
    forget();
  };

  /** @param {UrlParts} [parts] */
  const urlFor = (parts = {}) => {
    const { user = 'postgres', password, host = '127.0.0.1' } = parts;
    const login = [user, ...(password === undefined ? [] : [password])].map(encodeURIComponent).join(':');
    return `postgresql://${login}@${host}:${parts.port ?? port}/${encodeURIComponent(parts.database ?? database)}`;
  };

  try {
    command('tar', ['-xpf', await template(version), '-C', directory, '--numeric-owner']);
    if (clockAheadMs !== undefined) clock = wallClock({ directory, aheadMs: clockAheadMs });
    if (isStandby) give(join(directory, 'standby.signal'), '');
    for (let attempt = 1; ; attempt += 1) {
      try {
        await start();
        break;
      } catch (error) {
        if (attempt === 5 || !/Address already in use/.test(String(error))) throw error;
        port = await freePort();
      }
    }
  } catch (error) {
    await discard();
    throw error;
  }

  /** @type {Promise<void> | undefined} */
  let stopping;
  const stop = () => {
    stopped = true;
    stopping ??= (async () => {
      await Promise.all([...standbys].map((standby) => standby.stop()));
      await end('SIGINT');
      await discard();
    })();
    return stopping;
  };

  return {
    version,
    database,
    directory,
    get port() {
      return port;
    },
    get url() {
      return urlFor();
    },
    get pid() {
      return pid;
    },
    log,
    urlFor,
    stop,
    start,
    kill,
    async restart(further) {
      await end('SIGINT');
      await start(further);
    },
    freeze({ sessions = false } = {}) {
      if (child === undefined) throw new Error('This Postgres is not running.');
      child.kill('SIGSTOP');
      if (sessions) signalAll(processesIn(directory), 'SIGSTOP');
    },
    thaw() {
      signalAll(processesIn(directory), 'SIGCONT');
    },
    setClock(aheadMs) {
      if (clock === undefined) throw new Error('This Postgres has no wall clock of its own: start it with clockAheadMs.');
      clock.set(aheadMs);
    },
    async standby(further = {}) {
      const from = `host=127.0.0.1 port=${port} user=postgres application_name=standby`;
      const standby = await launch(version, { ...current, primary_conninfo: from, ...further }, database, { isStandby: true });
      standbys.add(standby);
      await follows(standby, urlFor({ database: 'postgres' }));
      return standby;
    },
    async promote() {
      command(join(bin, 'pg_ctl'), ['promote', '-w', '-D', directory], { ...identity, cwd: '/' });
    },
    [Symbol.asyncDispose]: stop,
  };
}

/**
 * Where data go: into memory where there is plenty of it, because a cluster is a thousand files, which take a disk up to a second to make
 * and memory 40 ms. Who asks for fsync means a disk, and who sets TMPDIR that directory.
 *
 * @param {Settings} settings
 */
function home(settings) {
  const memory = '/dev/shm';
  const isFlushed = !['false', 'off', 'no', '0'].includes(String(settings['fsync']));
  if (isFlushed || process.env['TMPDIR'] !== undefined || !existsSync(memory)) return tmpdir();
  const { bavail, bsize } = statfsSync(memory);
  return bavail * bsize > 2 ** 31 ? memory : tmpdir();
}

/**
 * Waits until a standby has all that the server which it follows has now.
 *
 * @param {Postgres} standby
 * @param {string} primary its URL; also that of a standby
 */
async function follows(standby, primary) {
  const [{ lsn }] = await ask(
    primary,
    'SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn',
  );
  const url = standby.urlFor({ database: 'postgres' });
  const there = `SELECT pg_last_wal_replay_lsn() >= '${lsn}' AS there`;
  for (const deadline = performance.now() + 60_000; !(await ask(url, there))[0].there; await sleep(5)) {
    if (performance.now() > deadline) throw new Error(`The standby does not follow: ${standby.log()}`);
  }
}

/**
 * One statement on a connection of its own.
 *
 * @param {string} url
 * @param {string} sql
 */
async function ask(url, sql) {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  // What is lost between two statements is told by the next one.
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/**
 * Writes a file that belongs to the servers' user.
 *
 * @param {string} file
 * @param {string} content
 */
function give(file, content) {
  writeFileSync(file, content);
  if (identity.uid !== undefined && identity.gid !== undefined) chownSync(file, identity.uid, identity.gid);
}

/** @param {Settings} settings */
function configuration(settings) {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = '${String(value).replaceAll("'", "''")}'\n`)
    .join('');
}

/**
 * Whether it takes connections, by the file in which it says so to pg_ctl; not by one that a killed predecessor left.
 *
 * @param {string} directory
 * @param {number | undefined} pid
 */
function isReady(directory, pid) {
  try {
    const lines = readFileSync(join(directory, 'postmaster.pid'), 'utf8').split('\n');
    return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
