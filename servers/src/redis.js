// @ts-check
// Redis, as Debian packages it, on data of its own that go when it stops.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { wallClock } from './clock.js';
import { guard } from './guard.js';
import { freePort } from './port.js';
import { processesIn, removeNow, signalAll } from './processes.js';

/** @typedef {Readonly<Record<string, string | number>>} Settings */

/**
 * @typedef {object} RedisServer
 * @property {number} port
 * @property {string} url
 * @property {number} pid Also after it has ended.
 * @property {() => string} log All it has written.
 * @property {() => Promise<void>} stop Ends it and removes the data. Twice is quiet.
 * @property {() => Promise<void>} kill SIGKILL, as when the machine fails. The data stay; by default there are none.
 * @property {(settings?: Settings) => Promise<void>} start After `kill()`: again, on the same port and data, with further settings.
 * @property {() => void} freeze It takes connections and answers nobody.
 * @property {() => void} thaw
 * @property {(aheadMs: number) => void} setClock Its wall clock is ahead of ours by so much from now on, or behind; only with `clockAheadMs`.
 * @property {(settings?: Settings) => Promise<Redis>} replica One that streams from this one. Stops with it.
 */

/** @typedef {RedisServer & AsyncDisposable} Redis */

/** @type {Settings} */
const defaults = { bind: '127.0.0.1', save: '', appendonly: 'no', daemonize: 'no' };

/**
 * Why it cannot be started, and the remedy; undefined when it can.
 *
 * @returns {string | undefined}
 */
export function redisMissing() {
  const { status } = spawnSync('redis-server', ['--version'], { stdio: 'ignore' });
  return status === 0 ? undefined : 'Redis is not installed. Remedy: apt-get install redis-server';
}

/**
 * Starts a server on 127.0.0.1 that is ours alone. It keeps nothing on disk unless the settings say so.
 *
 * @param {object} [options]
 * @param {Settings} [options.settings] What goes into its configuration, over the defaults here.
 * @param {number} [options.clockAheadMs] It has a wall clock of its own, which is ahead of ours by so much at first, or behind if negative.
 * @returns {Promise<Redis>}
 */
export async function startRedis({ settings = {}, clockAheadMs } = {}) {
  const missing = redisMissing();
  if (missing !== undefined) throw new Error(missing);
  // Real, because that is how the kernel calls a process's directory.
  const directory = mkdtempSync(join(realpathSync(tmpdir()), 'solorun-redis-'));
  const forget = guard({ directory });
  const clock = clockAheadMs === undefined ? undefined : wallClock({ directory, aheadMs: clockAheadMs });
  const logFile = join(directory, 'redis.log');
  let port = await freePort();
  let current = { ...defaults, ...settings };
  /** @type {import('node:child_process').ChildProcess | undefined} */
  let child;
  let ended = Promise.resolve();
  let pid = 0;
  let said = '';
  let stopped = false;
  /** @type {Set<Redis>} */
  const replicas = new Set();
  const log = () => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : said);

  /** @param {Settings} further */
  const start = async (further = {}) => {
    if (stopped) throw new Error('This Redis was stopped, and its data are gone: start another one.');
    if (child !== undefined) throw new Error('This Redis is running.');
    current = { ...current, ...further };
    const before = log().length;
    const output = openSync(logFile, 'a');
    const args = Object.entries({ ...current, port }).flatMap(([name, value]) => [`--${name}`, ...words(value)]);
    const server = spawn('redis-server', args, {
      cwd: directory,
      detached: true,
      stdio: ['ignore', output, output],
      env: { ...process.env, ...clock?.env },
    });
    closeSync(output);
    server.unref();
    child = server;
    pid = server.pid ?? pid;
    ended = once(server, 'exit').then(
      () => void (child = child === server ? undefined : child),
      () => void (child = undefined),
    );
    for (
      const deadline = performance.now() + 30_000;
      !log().slice(before).includes('Ready to accept connections');
      await sleep(5)
    ) {
      if (child === undefined) throw new Error(`Redis did not start: ${log().slice(before)}`);
      if (performance.now() > deadline) throw new Error(`Redis is not ready: ${log().slice(before)}`);
    }
  };

  const kill = async () => {
    child?.ref();
    signalAll(processesIn(directory), 'SIGKILL');
    await ended;
  };

  const stop = async () => {
    if (stopped) return;
    stopped = true;
    await Promise.all([...replicas].map((replica) => replica.stop()));
    await kill();
    said = log();
    removeNow(directory);
    forget();
  };

  try {
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
    await stop();
    throw error;
  }

  return {
    get port() {
      return port;
    },
    get url() {
      return `redis://127.0.0.1:${port}`;
    },
    get pid() {
      return pid;
    },
    log,
    start,
    kill,
    stop,
    freeze: () => signalAll(processesIn(directory), 'SIGSTOP'),
    thaw: () => signalAll(processesIn(directory), 'SIGCONT'),
    setClock(aheadMs) {
      if (clock === undefined) throw new Error('This Redis goes by our clock: start it with clockAheadMs.');
      clock.set(aheadMs);
    },
    async replica(further = {}) {
      const replica = await startRedis({ settings: { ...settings, replicaof: `127.0.0.1 ${port}`, ...further } });
      replicas.add(replica);
      await says(replica, 'Finished with success');
      return replica;
    },
    [Symbol.asyncDispose]: stop,
  };
}

/**
 * Several servers that share the slots of a Redis Cluster, without replicas.
 *
 * @param {{ readonly shards?: 1 | 3 }} [options] As many servers. One has all the slots.
 * @returns {Promise<{ readonly nodes: readonly Redis[], readonly stop: () => Promise<void> }>}
 */
export async function startRedisCluster({ shards = 3 } = {}) {
  const settings = { 'cluster-enabled': 'yes', 'cluster-node-timeout': 2_000 };
  /** @type {Redis[]} */
  const nodes = [];
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    for (let count = 0; count < shards; count += 1) {
      nodes.push(await startRedis({ settings: { ...settings, 'cluster-port': await freePort() } }));
    }
    if (shards === 1) cli('-p', nodes[0]?.port ?? 0, 'cluster', 'addslotsrange', 0, 16_383);
    else cli('--cluster', 'create', ...nodes.map(({ port }) => `127.0.0.1:${port}`), '--cluster-yes');
    for (const node of nodes) await says(node, 'Cluster state changed: ok');
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes, stop };
}

/** @param {(string | number)[]} args */
function cli(...args) {
  const { status, stdout, stderr } = spawnSync('redis-cli', args.map(String), { encoding: 'utf8', timeout: 30_000 });
  if (status !== 0) throw new Error(`The cluster was not made: ${stdout}${stderr}`);
}

/**
 * Waits until a server has written something.
 *
 * @param {RedisServer} redis
 * @param {string} line
 */
async function says(redis, line) {
  for (const deadline = performance.now() + 30_000; !redis.log().includes(line); await sleep(5)) {
    if (performance.now() > deadline) throw new Error(`Redis does not say ${JSON.stringify(line)}: ${redis.log()}`);
  }
}

/**
 * A setting's value as words of a command line: one that is empty is a word, too.
 *
 * @param {string | number} value
 */
function words(value) {
  return value === '' ? [''] : String(value).split(' ');
}
