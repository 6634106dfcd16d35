// @ts-check
// The servers that npm brought, and the user they run as. Postgres refuses to run as root, so then it runs as somebody else, who must be
// able to reach its programs.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { codeOf } from './processes.js';

const require = createRequire(import.meta.url);
const platform = `${process.platform}-${process.arch}`;

/** The majors that there are packages for on this platform, as servers/package.json names them. */
const packages = new Map(
  platform === 'linux-x64'
    ? [13, 14, 16, 18].map((major) => [major, `postgres-${major}`])
    : ['linux-arm64', 'darwin-x64', 'darwin-arm64'].includes(platform)
      ? [[18, `postgres-18-${platform}`]]
      : [],
);

/**
 * The majors that can be started here.
 *
 * @returns {number[]}
 */
export function installedVersions() {
  return [...packages.keys()].filter((version) => packageOf(version) !== undefined);
}

/**
 * Why a version cannot be started, and the remedy; undefined when it can.
 *
 * @param {number} version
 * @returns {string | undefined}
 */
export function postgresMissing(version = 18) {
  if (!packages.has(version)) {
    const others = packages.size === 0 ? 'no version of it does' : `these do: ${[...packages.keys()].join(', ')}`;
    return `Postgres ${version} does not come from npm for ${platform} (${others}). Remedy: run this on Linux x64.`;
  }
  if (packageOf(version) !== undefined) return undefined;
  return `The npm package ${packages.get(version)} is not installed. Remedy: npm ci --include=optional`;
}

/**
 * The directory of the package.
 *
 * @param {number} version
 */
function packageOf(version) {
  const name = packages.get(version);
  if (name === undefined) return undefined;
  try {
    return dirname(dirname(require.resolve(name)));
  } catch (error) {
    if (codeOf(error) === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

/** Who servers run as: oneself, but never root. */
export const identity = identityOfServers();

/** @returns {{ uid?: number, gid?: number }} */
function identityOfServers() {
  if (process.getuid?.() !== 0) return {};
  for (const user of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, user], { encoding: 'utf8' }));
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  throw new Error(
    'As root, servers need a user "postgres" or "nobody" to run as; neither exists. Remedy: useradd --system postgres',
  );
}

/**
 * A directory of ours for what is made once, between runs as well. Others may read it; nobody else may have made it.
 *
 * @returns {string}
 */
export function cache() {
  const uid = process.getuid?.() ?? 0;
  const path = join(tmpdir(), `solorun-servers-${uid}`);
  mkdirSync(path, { recursive: true, mode: 0o755 });
  const stat = lstatSync(path);
  if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o022) !== 0) {
    throw new Error(`${path} is not a directory of our own that only we may write to. Remedy: remove it, or set TMPDIR.`);
  }
  chmodSync(path, 0o755);
  return path;
}

/** @type {Map<number, { readonly bin: string, readonly exactly: string }>} */
const found = new Map();

/**
 * Where the programs of a version are, ready to be run by {@link identity}.
 *
 * @param {number} version
 */
export function binaries(version) {
  const known = found.get(version);
  if (known !== undefined) return known;
  const missing = postgresMissing(version);
  const home = packageOf(version);
  if (missing !== undefined || home === undefined) throw new Error(missing);
  const exactly = String(JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')).version);
  let problem = makeRunnable(home);
  let at = home;
  if (problem !== undefined) {
    at = copyOf(home, exactly);
    problem = makeRunnable(at);
  }
  if (problem !== undefined) throw new Error(`Postgres ${exactly} in ${at} does not run here: ${problem}`);
  const result = { bin: join(at, 'native/bin'), exactly };
  found.set(version, result);
  return result;
}

/**
 * Does what the package's install script does, which npm may have been told not to run. Harmless when several do it at once.
 *
 * @param {string} home
 * @returns {string | undefined} why it cannot be run all the same
 */
function makeRunnable(home) {
  try {
    /** @type {{ source: string, target: string }[]} */
    const links = JSON.parse(readFileSync(join(home, 'native/pg-symlinks.json'), 'utf8'));
    for (const { source, target } of links) {
      try {
        symlinkSync(relative(dirname(target), source), join(home, target));
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
      }
    }
    for (const name of readdirSync(join(home, 'native/bin'))) {
      const program = join(home, 'native/bin', name);
      if ((lstatSync(program).mode & 0o111) !== 0o111) chmodSync(program, 0o755);
    }
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error))) throw error;
    return String(error);
  }
  const { status, stderr, error } = spawnSync(join(home, 'native/bin/postgres'), ['--version'], {
    ...identity,
    cwd: '/',
    encoding: 'utf8',
  });
  return status === 0 ? undefined : (error?.message ?? stderr);
}

/**
 * For a checkout that the servers' user cannot look into, or that is read-only.
 *
 * @param {string} home
 * @param {string} exactly
 */
function copyOf(home, exactly) {
  const target = join(cache(), `programs-${exactly}`);
  if (existsSync(target)) return target;
  const making = mkdtempSync(join(cache(), 'making-'));
  command('cp', ['-R', join(home, 'native'), making]);
  command('chmod', ['-R', 'u+rwX,a+rX', making]);
  try {
    renameSync(making, target);
  } catch (error) {
    // Somebody else was faster.
    if (!['ENOTEMPTY', 'EEXIST'].includes(codeOf(error))) throw error;
    rmSync(making, { recursive: true });
  }
  return target;
}

/**
 * Runs a program to its end.
 *
 * @param {string} file
 * @param {readonly string[]} args
 * @param {import('node:child_process').SpawnSyncOptions} [options]
 */
export function command(file, args, options) {
  const { status, signal, error, stderr } = spawnSync(file, args, { ...options, encoding: 'utf8' });
  if (status === 0) return;
  throw new Error(`${file} ${args.join(' ')} failed (${error?.message ?? signal ?? `exit status ${status}`}): ${stderr}`);
}
