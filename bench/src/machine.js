// @ts-check
// What the figures were measured on.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { pinned } from './pin.js';
import { home } from './stage.js';

const memory = new Set(['tmpfs', 'ramfs']);

/**
 * The file system that files of a run lie on, and why the figures are not what they should be, if they are not.
 *
 * @returns {{ machine: string, versions: string, files: string, pinning: string, warnings: string[] }}
 */
export function describeMachine() {
  const type = fileSystemOf(home);
  const warnings = [];
  if (pinned === undefined) {
    warnings.push(
      'Processes cannot be pinned to processors here (no taskset): the figures are loose, and ratios below 2 mean little.',
    );
  } else if (pinned.server === pinned.client) {
    warnings.push('There is one processor only: in the rows with many names at once, server and client share it.');
  }
  if (memory.has(type))
    warnings.push(`${home} lies in memory (${type}): nothing is flushed to a disk. Set TMPDIR to a directory on one.`);
  return {
    machine: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${process.arch}`,
    versions: [`Node.js ${process.versions.node}`, `Postgres ${postgresVersion()}`, redisVersion(), ...peers()].join(', '),
    files: `${type}, flushed to the disk (fsync = on)`,
    pinning:
      pinned === undefined ? 'not pinned' : `pinned with taskset: server on processor ${pinned.server}, client on ${pinned.client}`,
    warnings,
  };
}

function peers() {
  const { dependencies = {} } = manifest('../package.json');
  const names = [
    'pg',
    'advisory-lock',
    '@verrou/core',
    'kysely',
    'proper-lockfile',
    'async-mutex',
    'ioredis',
    'redis-semaphore',
    'redlock',
  ];
  return names.map((name) => `${name} ${dependencies[name]}`);
}

/** As the package with the server says it. */
function postgresVersion() {
  const { optionalDependencies = {} } = manifest('../../servers/package.json');
  return /@(\d+\.\d+)[^@]*$/.exec(optionalDependencies['postgres-18'] ?? '')?.[1] ?? '18';
}

/** The one that is installed. */
function redisVersion() {
  const { stdout } = spawnSync('redis-server', ['--version'], { encoding: 'utf8' });
  return `Redis ${/v=(\S+)/.exec(stdout ?? '')?.[1] ?? '(not installed)'}`;
}

/**
 * @param {string} path
 * @returns {Record<'dependencies' | 'optionalDependencies', Record<string, string> | undefined>}
 */
function manifest(path) {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
}

/** @param {string} path */
function fileSystemOf(path) {
  if (process.platform !== 'linux') return 'a file system of unknown type';
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '));
  const under = mounts.filter(([, point = '']) => point !== '' && `${path}/`.startsWith(point === '/' ? '/' : `${point}/`));
  // The last mount on the longest path is the one that is seen.
  const found = [...under].sort((a, b) => (a[1]?.length ?? 0) - (b[1]?.length ?? 0)).at(-1);
  return found?.[2] ?? 'unknown';
}
