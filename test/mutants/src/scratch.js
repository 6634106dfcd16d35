// @ts-check
// A copy of the sources in which things may be broken. Its node_modules lead to the real ones, but for our own packages, which are its own.

import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative, resolve } from 'node:path';
import { removeNow } from '@solorun/servers/processes';
import { pathOf, ROOT, sabotage } from './mutant.js';

/** @import { Mutant } from './mutant.js' */

const DIRECTORIES = ['packages', 'servers', 'test'];
const NOT_COPIED = ['.git', 'node_modules', 'dist', 'coverage', '.turbo', 'compare', 'mutants'];
/** Ends what hangs. */
const LONGEST_MS = 300_000;

/**
 * How a program ended.
 *
 * @typedef {{ readonly status: number | null, readonly output: string }} Ended
 */

export class Scratch {
  #directory = realpathSync(mkdtempSync(join(tmpdir(), 'solorun-mutants-')));
  /** Packages whose sources differ from what is compiled; none: nothing has been compiled yet. @type {Set<string>} */
  #changed = new Set();

  constructor() {
    process.once('exit', () => removeNow(this.#directory));
    const files = readdirSync(ROOT, { withFileTypes: true }).filter((entry) => entry.isFile());
    const filter = (/** @type {string} */ source) => !NOT_COPIED.includes(basename(source));
    for (const name of [...DIRECTORIES, ...files.map(({ name: file }) => file)]) {
      cpSync(join(ROOT, name), join(this.#directory, name), { recursive: true, filter });
    }
    for (const modules of ['node_modules', ...readdirSync(join(ROOT, 'packages')).map((name) => `packages/${name}/node_modules`)]) {
      if (existsSync(join(ROOT, modules))) this.#link(modules);
    }
  }

  /** @param {string} modules */
  #link(modules) {
    const [from, to] = [join(ROOT, modules), join(this.#directory, modules)];
    mkdirSync(join(to, '@solorun'), { recursive: true });
    for (const name of readdirSync(from)) {
      // Vite's own cache in there is not shared.
      if (name !== '@solorun' && !name.startsWith('.vite')) symlinkSync(join(from, name), join(to, name));
    }
    const ours = join(from, '@solorun');
    for (const name of existsSync(ours) ? readdirSync(ours) : []) {
      const workspace = relative(ROOT, resolve(ours, readlinkSync(join(ours, name))));
      const copy = join(this.#directory, workspace);
      if (existsSync(copy)) symlinkSync(copy, join(to, '@solorun', name));
    }
  }

  /** @param {string} file */
  path(file) {
    return join(this.#directory, file);
  }

  /** Compiles the packages that have changed, or all; those that use them are as they were. @returns {Promise<string | undefined>} what the compiler says against it */
  async build() {
    const { status, output } = await this.run(['node_modules/typescript/bin/tsc', '-b', ...this.#changed]);
    this.#changed.clear();
    return status === 0 ? undefined : output;
  }

  /** @param {Mutant} mutant @returns {() => void} what takes it back */
  apply(mutant) {
    const file = this.path(pathOf(mutant));
    const source = readFileSync(file, 'utf8');
    const write = (/** @type {string} */ text) => {
      writeFileSync(file, text);
      this.#changed.add(join('packages', mutant.package));
    };
    write(sabotage(mutant, source));
    return () => write(source);
  }

  /**
   * Runs a program of Node's in here.
   *
   * @param {readonly string[]} args
   * @param {NodeJS.ProcessEnv} [env] beside our own
   * @returns {Promise<Ended>}
   */
  run(args, env = {}) {
    return new Promise((settle, reject) => {
      const child = spawn(process.execPath, args, {
        cwd: this.#directory,
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: LONGEST_MS,
        killSignal: 'SIGKILL',
      });
      let output = '';
      const hear = (/** @type {Buffer} */ chunk) => void (output += chunk.toString());
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.on('error', reject);
      child.on('close', (status) => settle({ status, output }));
    });
  }
}
