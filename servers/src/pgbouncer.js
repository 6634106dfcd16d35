// @ts-check
// PgBouncer, as Debian packages it, in front of a Postgres of ours.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { identity } from './binaries.js';
import { guard } from './guard.js';
import { freePort } from './port.js';
import { removeNow } from './processes.js';

/** @import { Postgres, Settings, UrlParts } from './postgres.js' */

/**
 * @typedef {object} PgbouncerOptions
 * @property {Pick<Postgres, 'port' | 'urlFor'>} postgres What it stands in front of.
 * @property {'transaction' | 'session' | 'statement'} mode
 * @property {Settings} [settings] What goes into the section [pgbouncer], over the defaults here.
 */

/**
 * @typedef {object} Pgbouncer
 * @property {number} port
 * @property {string} url The superuser's, through the pooler.
 * @property {(parts?: UrlParts) => string} urlFor
 * @property {string} console The URL of its administration console: SHOW POOLS and the like, by the simple protocol.
 * @property {() => string} log
 * @property {() => Promise<void>} stop
 */

// Debian puts it where ordinary users do not look.
const env = { ...process.env, PATH: [process.env['PATH'], '/usr/sbin', '/usr/local/sbin'].join(delimiter) };

/**
 * Why it cannot be started, and the remedy; undefined when it can.
 *
 * @returns {string | undefined}
 */
export function pgbouncerMissing() {
  const { status } = spawnSync('pgbouncer', ['--version'], { env, stdio: 'ignore' });
  return status === 0 ? undefined : 'PgBouncer is not installed. Remedy: apt-get install pgbouncer';
}

/**
 * @param {PgbouncerOptions} options
 * @returns {Promise<Pgbouncer & AsyncDisposable>}
 */
export async function startPgbouncer({ postgres, mode, settings = {} }) {
  const missing = pgbouncerMissing();
  if (missing !== undefined) throw new Error(missing);
  const directory = mkdtempSync(join(realpathSync(tmpdir()), 'solorun-pgbouncer-'));
  const forget = guard({ directory });
  const logFile = join(directory, 'pgbouncer.log');
  let said = '';
  const log = () => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : said);

  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const configuration = Object.entries({
      listen_addr: '127.0.0.1',
      listen_port: port,
      unix_socket_dir: '',
      auth_type: 'trust',
      auth_file: join(directory, 'users'),
      admin_users: 'postgres',
      pool_mode: mode,
      // Clients other than libpq send it, and are refused.
      ignore_startup_parameters: 'extra_float_digits',
      ...settings,
    });
    const lines = configuration.map(([name, value]) => `${name} = ${String(value)}`);
    writeFileSync(
      join(directory, 'pgbouncer.ini'),
      ['[databases]', `* = host=127.0.0.1 port=${postgres.port}`, '[pgbouncer]', ...lines, ''].join('\n'),
    );
    writeFileSync(join(directory, 'users'), '"postgres" ""\n"secretive" "secret"\n');
    if (identity.uid !== undefined && identity.gid !== undefined) {
      for (const path of ['', 'pgbouncer.ini', 'users']) chownSync(join(directory, path), identity.uid, identity.gid);
    }
    const output = openSync(logFile, 'w');
    const child = spawn('pgbouncer', [join(directory, 'pgbouncer.ini')], {
      ...identity,
      env,
      cwd: directory,
      detached: true,
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    child.unref();
    /** @type {Promise<unknown>} */
    const ended = once(child, 'exit').catch(() => {});
    let stopped = false;
    const stop = async () => {
      if (stopped) return;
      stopped = true;
      child.ref();
      child.kill('SIGKILL');
      await ended;
      said = log();
      removeNow(directory);
      forget();
    };
    let over = false;
    void ended.then(() => {
      over = true;
    });
    for (const deadline = performance.now() + 10_000; performance.now() < deadline; await sleep(5)) {
      if (over || isUp(log())) break;
    }
    if (isUp(log())) {
      /** @param {UrlParts} [parts] */
      const urlFor = (parts) => postgres.urlFor({ port, ...parts });
      return {
        port,
        url: urlFor(),
        urlFor,
        console: urlFor({ database: 'pgbouncer' }),
        log,
        stop,
        [Symbol.asyncDispose]: stop,
      };
    }
    if (attempt < 5 && /in use/.test(log())) continue;
    await stop();
    throw new Error(`PgBouncer did not start: ${said}`);
  }
}

/**
 * Whether it listens, by what it says next.
 *
 * @param {string} log
 */
function isUp(log) {
  return log.includes('process up: PgBouncer');
}
