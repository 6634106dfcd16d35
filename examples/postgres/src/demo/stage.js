// @ts-check
// What the four demos share: a database of their own, processes and what may befall them, and hold-ups in the middle of their work.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startPostgres } from '@solorun/servers/postgres';
import pg from 'pg';

/** Ends a process when whoever started it is gone, however that ended. */
const LIFELINE = "data:text/javascript,process.stdin.on('end', () => process.exit()).resume().unref()";
/** How long something may take to come about: it ends a hang, and measures nothing. */
const PATIENCE_MS = 60_000;

/** @typedef {Awaited<ReturnType<typeof openStage>>} Stage */
/** @typedef {ReturnType<Stage['start']>} Actor */

/**
 * @param {object} options
 * @param {string | undefined} options.url A server, in which a database is made for the time of the demo. Default: a server of its own.
 * @param {(text: string) => void} options.tell
 */
export async function openStage({ url: given, tell }) {
  const server = given === undefined ? await startPostgres() : undefined;
  const home = given ?? /** @type {import('@solorun/servers/postgres').Postgres} */ (server).url;
  const database = `solorun_example_${process.pid}_${Math.floor(Math.random() * 1e9)}`;
  await askAt(home, `CREATE DATABASE ${database}`);
  const address = new URL(home);
  address.pathname = database;
  const url = address.href;

  /** @type {Set<import('node:child_process').ChildProcess>} */
  const running = new Set();
  const killAll = () => {
    for (const child of running) child.kill('SIGKILL');
  };
  process.prependListener('exit', killAll);

  /** @type {Error | undefined} */
  let crash;
  /** @type {Promise<void> | undefined} */
  let closing;

  /** @param {string} sql @param {unknown[]} [values] */
  const ask = (sql, values) => askAt(url, sql, values);

  return { url, tell, ask, start, until, holdUp, close: () => (closing ??= close()) };

  /**
   * Starts a program, which finds the database as any program would.
   *
   * @param {string} name
   * @param {URL} program
   * @param {object} [options]
   * @param {string[]} [options.args]
   * @param {NodeJS.ProcessEnv} [options.env]
   * @param {boolean} [options.mayFail] Whether its failure is a part of the story.
   */
  function start(name, program, { args = [], env = {}, mayFail = false } = {}) {
    const child = spawn(process.execPath, ['--import', LIFELINE, fileURLToPath(program), ...args], {
      // The name is what its connections are called in pg_stat_activity.
      env: { ...process.env, ...env, DATABASE_URL: url, PGAPPNAME: name },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    running.add(child);
    /** @type {string[]} */
    const lines = [];
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line);
        tell(`  ${name} │ ${line}`);
      });
    }
    const ended = once(child, 'close').then(([status, signal]) => {
      running.delete(child);
      if (status !== null && status !== 0 && !mayFail) crash ??= new Error(`${name} ended by itself, with status ${status}.`);
      return /** @type {number | string} */ (status ?? signal);
    });
    return {
      name,
      /** All that it has printed. */
      lines: /** @type {readonly string[]} */ (lines),
      /** Its exit status, or the signal that ended it. */
      ended,
      /**
       * The first line that matches, printed or still to come.
       *
       * @param {RegExp} pattern
       */
      says: (pattern) => until(`${name} says ${pattern}`, () => lines.find((line) => pattern.test(line))),
      async kill() {
        child.kill('SIGKILL');
        await ended;
      },
      freeze: () => void child.kill('SIGSTOP'),
      wake: () => void child.kill('SIGCONT'),
      /** @param {NodeJS.Signals} signal */
      signal: (signal) => void child.kill(signal),
      async stop() {
        child.kill('SIGTERM');
        await ended;
      },
    };
  }

  /**
   * Looks until there is something to see.
   *
   * @template T
   * @param {string} what
   * @param {() => T | Promise<T>} look
   * @returns {Promise<Exclude<T, undefined | false>>}
   */
  async function until(what, look) {
    for (const deadline = performance.now() + PATIENCE_MS; ; await sleep(20)) {
      const seen = await look();
      if (seen !== undefined && seen !== false) return /** @type {Exclude<T, undefined | false>} */ (seen);
      if (crash !== undefined) throw crash;
      if (performance.now() > deadline) throw new Error(`It never came to pass that ${what}.`);
    }
  }

  /**
   * Holds up whoever needs what these statements lock, until it is released: a way to find a process in the middle of its work.
   *
   * @param {string} sql
   */
  async function holdUp(sql) {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => {});
    await client.connect();
    await client.query(`BEGIN; ${sql}`);
    const pid = (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
    return {
      /** Whom it holds up now. @returns {Promise<string[]>} */
      async blocked() {
        const rows = await ask(
          'SELECT DISTINCT application_name AS name FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)) ORDER BY name',
          [pid],
        );
        return rows.map(({ name }) => String(name));
      },
      async release() {
        await client.query('ROLLBACK');
        await client.end();
      },
    };
  }

  async function close() {
    process.off('exit', killAll);
    const children = [...running];
    killAll();
    await Promise.all(children.map((child) => once(child, 'close')));
    if (server === undefined) await askAt(home, `DROP DATABASE ${database} WITH (FORCE)`);
    else await server.stop();
  }
}

/** @param {string} url @param {string} sql @param {unknown[]} [values] @returns {Promise<Record<string, unknown>[]>} */
async function askAt(url, sql, values) {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(sql, values)).rows;
  } finally {
    await client.end();
  }
}
