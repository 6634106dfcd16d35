// @ts-check
// Makes a fresh clone ready to run: installs what the lockfile says, compiles the packages. Does nothing, quickly, when both are done.
// Progress goes to stderr, so that what runs after it keeps stdout to itself.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const OUTPUT = /\.(?:js|d\.ts)(?:\.map)?$/;

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Solorun needs Node 20.19 or newer; this is Node ${process.versions.node}.`);
}

if (!isInstalled()) {
  console.error('Installing dependencies (npm ci) …');
  // Also under NODE_ENV=production: the compiler is a development dependency.
  run(npm(['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']), 'npm ci');
}
if (prepareOutputs()) console.error('Compiling the packages (tsc -b) …');
run([process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b']], 'tsc -b');

/** Whether node_modules holds what the lockfile asks for, by npm's own note of what it installed: file times lie after a checkout. */
function isInstalled() {
  const installed = packagesIn(join(root, 'node_modules/.package-lock.json'));
  const wanted = packagesIn(join(root, 'package-lock.json'));
  if (installed === undefined) return false;
  if (wanted === undefined) return fail('package-lock.json is missing or cannot be read: restore it from git.');
  return Object.entries(wanted).every(([path, entry]) => {
    const present = installed[path];
    // The root is not in the note, nor are binaries made for other platforms.
    if (present === undefined) return path === '' || entry.optional === true;
    // Not by "resolved": whether npm writes down where a package came from is a setting.
    return present.version === entry.version && present.integrity === entry.integrity && present.link === entry.link;
  });
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, integrity?: string, link?: boolean, optional?: boolean }> | undefined}
 */
function packagesIn(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch (error) {
    if (error instanceof SyntaxError || /** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Puts right what `tsc -b` does not see: output of a source that is gone stays, and output that is gone is not made again while
 * .tsbuildinfo says that it was. Returns whether something certainly has to be compiled.
 */
function prepareOutputs() {
  let lacking = false;
  for (const name of readdirSync(join(root, 'packages'))) {
    const src = join(root, 'packages', name, 'src');
    const dist = join(root, 'packages', name, 'dist');
    const sources = new Set(filesBelow(src).map((file) => file.replace(/\.ts$/, '')));
    const outputs = new Set(filesBelow(dist).filter((file) => OUTPUT.test(file)));
    for (const file of outputs) {
      if (!sources.has(file.replace(OUTPUT, ''))) rmSync(join(dist, file), { force: true });
    }
    if ([...sources].some((file) => !outputs.has(`${file}.js`) || !outputs.has(`${file}.d.ts`))) {
      rmSync(join(dist, '.tsbuildinfo'), { force: true });
      lacking = true;
    }
  }
  return lacking;
}

/** @param {string} directory */
function filesBelow(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));
}

/**
 * npm as a program that needs no shell, on Windows too: the one that runs us, else the one beside this Node, else the one on the path.
 *
 * @param {string[]} args
 * @returns {[string, string[]]}
 */
function npm(args) {
  const beside = join(dirname(process.execPath), 'node_modules/npm/bin/npm-cli.js');
  const cli = [process.env['npm_execpath'], beside].find((file) => file && basename(file) === 'npm-cli.js' && existsSync(file));
  return cli === undefined ? ['npm', args] : [process.execPath, [cli, ...args]];
}

/**
 * @param {[string, string[]]} command
 * @param {string} label
 */
function run([file, args], label) {
  const { status, signal, error } = spawnSync(file, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (error) fail(`${label} could not be started: ${error.message}`);
  if (status !== 0) fail(`${label} failed (${signal ?? `exit status ${status}`}): see above.`, status ?? 1);
}

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message, status = 1) {
  console.error(message);
  process.exit(status);
}
