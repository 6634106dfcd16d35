// @ts-check
// The job: a directory tree becomes a .tar.gz that has been read back before anybody sees it. It knows nothing of locks but the two
// things that every job under a lease can make use of, `checkpoint` and `fence`.

import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, list } from 'tar';

const ARCHIVE = 'files.tar.gz';
const CHECKSUM = `${ARCHIVE}.sha256`;
const PARTIAL = /^\.partial-(\d+)$/;
const PUBLISHED = /^\d{8}T\d{6}Z$/;

/** What the job needs of its run: the tick, and the lease under which it runs. */
/** @typedef {Pick<import('@solorun/node-cron').ScheduleContext, 'date' | 'signal' | 'fence' | 'checkpoint'>} Run */

/**
 * @typedef {object} BackupOptions
 * @property {string} source The tree to back up.
 * @property {string} destination Backups become directories in here, named by their tick.
 * @property {(step: string) => void} [onStep] Told of each step, just before it is taken.
 * @property {number} [keep] How many backups are kept, this one included; 5 unless given.
 * @property {number} [bytesPerSecond] Writes no faster than this, to leave the disk to others.
 */

/** @typedef {{ name: string, files: number, bytes: number, sha256: string }} Made */

/**
 * @param {Run} run
 * @param {BackupOptions} options
 * @returns {Promise<Made | undefined>} undefined: an earlier attempt at this tick got as far as publishing its backup
 */
export async function backup(run, { source, destination, onStep, keep = 5, bytesPerSecond = Infinity }) {
  const { fence, signal } = run;
  // Before each step that others can see: is the lease still ours?
  const step = (/** @type {string} */ what) => {
    run.checkpoint();
    onStep?.(what);
  };
  const name = nameOf(run.date);
  const partial = join(destination, `.partial-${fence}`);

  step('clean up');
  // What older holders left behind. One that is merely frozen, and wakes later, finds that it has nothing left to publish.
  for (const [directory, other] of partials(destination)) {
    if (other <= fence) rmSync(join(destination, directory), { recursive: true, force: true });
  }
  if (existsSync(join(destination, name))) return undefined;
  mkdirSync(partial);

  const files = filesBelow(source);
  const archive = join(partial, ARCHIVE);
  const hash = createHash('sha256');
  let bytes = 0;
  async function* packed() {
    for await (const chunk of create({ cwd: source, gzip: true, portable: true }, files)) {
      step('pack');
      hash.update(chunk);
      bytes += chunk.length;
      yield chunk;
      await sleep((chunk.length / bytesPerSecond) * 1000, undefined, { signal });
    }
  }
  // Flushed to the disk before it counts.
  await pipeline(packed, createWriteStream(archive, { flush: true }), { signal });
  const sha256 = hash.digest('hex');
  await writeFile(join(partial, CHECKSUM), `${sha256}  ${ARCHIVE}\n`, { flush: true });

  step('verify');
  const found = await verify(partial);
  if (found.sha256 !== sha256 || found.files !== files.length) throw new Error(`${name} does not read back as it was written.`);

  step('publish');
  // All or nothing, and never a second time: a directory is not renamed onto another that has files in it.
  renameSync(partial, join(destination, name));

  step('rotate');
  for (const old of published(destination).slice(0, -keep)) rmSync(join(destination, old), { recursive: true, force: true });
  return { name, files: files.length, bytes, sha256 };
}

/**
 * Reads a backup back: its checksum is right and every file in it is whole.
 *
 * @param {string} directory
 * @returns {Promise<{ files: number, sha256: string }>}
 */
export async function verify(directory) {
  const archive = join(directory, ARCHIVE);
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(archive)) hash.update(chunk);
  let files = 0;
  await list({
    file: archive,
    strict: true,
    onReadEntry: (entry) => {
      if (entry.type === 'File') files += 1;
    },
  });
  return { files, sha256: hash.digest('hex') };
}

/**
 * The backups there are, oldest first.
 *
 * @param {string} destination
 */
export function published(destination) {
  return readdirSync(destination)
    .filter((name) => PUBLISHED.test(name))
    .sort();
}

/** @param {string} destination */
function partials(destination) {
  return readdirSync(destination).flatMap((name) => {
    const fence = PARTIAL.exec(name)?.[1];
    return fence === undefined ? [] : [/** @type {const} */ ([name, BigInt(fence)])];
  });
}

/** @param {string} source */
function filesBelow(source) {
  return readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(source, join(entry.parentPath, entry.name)))
    .sort();
}

/** `20250131T030000Z`: sorts by time and is a file name everywhere. @param {Date} tick */
function nameOf(tick) {
  return tick.toISOString().replaceAll(/[-:]|\.\d+/g, '');
}
