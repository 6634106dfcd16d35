// @ts-check
// An empty cluster of each version, made once and kept between runs: making one takes a second, unpacking it a tenth of one.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, chownSync, existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binaries, cache, command, identity } from './binaries.js';

const access = `# Everybody is trusted but one, so that a wrong password can be tried.
local all         all                     trust
local replication all                     trust
host  all         secretive all           scram-sha-256
host  all         all       127.0.0.1/32  trust
host  replication all       127.0.0.1/32  trust
host  all         all       ::1/128       trust
# A network namespace.
host  all         all       10.0.0.0/8    trust
`;
const roles = `SET password_encryption = 'scram-sha-256'; CREATE ROLE secretive LOGIN PASSWORD 'secret'`;

/**
 * The archive of an empty cluster.
 *
 * @param {number} version
 * @returns {Promise<string>}
 */
export async function template(version) {
  const { bin, exactly } = binaries(version);
  const recipe = createHash('sha256')
    .update(JSON.stringify([access, roles, identity]))
    .digest('hex')
    .slice(0, 8);
  // One file, which is there or not: whatever cleans up in a temporary directory does not leave half of it.
  const archive = join(cache(), `postgres-${exactly}-${recipe}.tar`);
  if (existsSync(archive)) return archive;
  const directory = mkdtempSync(join(tmpdir(), 'solorun-template-'));
  try {
    if (identity.uid !== undefined && identity.gid !== undefined) chownSync(directory, identity.uid, identity.gid);
    command(join(bin, 'initdb'), ['-D', directory, '-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8', '--no-locale'], {
      ...identity,
      cwd: '/',
      env: { ...process.env, LC_ALL: 'C' },
    });
    writeFileSync(join(directory, 'pg_hba.conf'), access);
    appendFileSync(join(directory, 'postgresql.conf'), "\ninclude_if_exists 'solorun.conf'\n");
    runSql(version, directory, roles);
    const making = `${archive}.${process.pid}`;
    command('tar', ['-cf', making, '-C', directory, '.']);
    renameSync(making, archive);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return archive;
}

/**
 * Runs a statement in a cluster that is not running.
 *
 * @param {number} version
 * @param {string} directory
 * @param {string} sql
 */
function runSql(version, directory, sql) {
  const { bin } = binaries(version);
  const { status, stderr } = spawnSync(join(bin, 'postgres'), ['--single', '-D', directory, '-F', 'postgres'], {
    ...identity,
    cwd: '/',
    input: `${sql}\n`,
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  // It goes on after an error, and its exit status does not tell.
  if (status !== 0 || /^(?:ERROR|FATAL|PANIC)|(?:ERROR|FATAL|PANIC):/m.test(stderr)) throw new Error(`${sql}: ${stderr}`);
}
