// @ts-check
// A replica's place in the fleet. When its process is killed, another process takes the place.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { now, readJournals } from './journal.js';

/** @import { ChildProcess } from 'node:child_process' */
/** @import { Entry } from './journal.js' */
/** @import { Link } from './places.js' */
/** @import { Job } from './worker.js' */

/** A process that has not started or ended by then never will, in ms; far above what either takes on a busy machine. */
const PATIENCE_MS = 60_000;

/**
 * @typedef {object} MemberOptions
 * @property {number} slot
 * @property {Link} link How it reaches the store.
 * @property {string} worker The program.
 * @property {Job & { readonly lateMs: number }} job
 * @property {string} directory For its journals; its processes work in it.
 * @property {(label: string) => string} journal The file for the journal of a process.
 * @property {(entry: Entry) => void} note Into the harness's journal.
 */

export class Member {
  /** @type {MemberOptions} */
  #options;
  #generation = 0;
  /** @type {ChildProcess | undefined} */
  #child;
  #ended = Promise.resolve();
  /** The process whose end is no crash. @type {ChildProcess | undefined} */
  #expected;
  #isStopping = false;

  /** @param {MemberOptions} options */
  constructor(options) {
    this.#options = options;
  }

  get link() {
    return this.#options.link;
  }

  /** Of its process now. */
  get label() {
    return `r${this.#options.slot}.${this.#generation}`;
  }

  get pid() {
    return this.#child?.pid ?? 0;
  }

  /** @param {Partial<Job>} [others] How its process does its job, where that differs. */
  start(others = {}) {
    const { link, worker, job, directory, journal, note } = this.#options;
    this.#generation += 1;
    const label = this.label;
    const orders = { ...job, ...others, label, store: link.store, journal: journal(label) };
    const [file, ...args] = [...(link.within ?? []), process.execPath, '--no-warnings', worker, JSON.stringify(orders)];
    const errors = this.#errors;
    const output = openSync(errors, 'a');
    const child = spawn(file, args, { stdio: ['pipe', output, output], env: { ...process.env, ...link.env }, cwd: directory });
    closeSync(output);
    child.stdin?.on('error', () => {});
    this.#child = child;
    this.#ended = once(child, 'exit').then(([status, signal]) => {
      if (this.#expected === child || (this.#isStopping && status === 0)) return;
      const said = readFileSync(errors, 'utf8').trim().slice(-2_000);
      note({ kind: 'crashed', id: label, result: `ended with ${signal ?? status}: ${said}` });
    });
  }

  /** Until its process has started, or has ended. */
  async up() {
    for (const deadline = now() + PATIENCE_MS; now() < deadline; await sleep(20)) {
      if (this.#child?.exitCode !== null || this.#child.signalCode !== null || this.#hasNoted('up')) return;
    }
    throw new Error(`${this.label} did not start: ${readFileSync(this.#errors, 'utf8')}`);
  }

  /** @param {NodeJS.Signals} signal */
  signal(signal) {
    this.#child?.kill(signal);
  }

  /** @param {string} line For its standard input. */
  write(line) {
    this.#child?.stdin?.write(`${line}\n`);
  }

  /**
   * SIGKILL, and another process in its place.
   *
   * @param {Partial<Job>} [others] How that one does its job, where it differs.
   */
  async kill(others) {
    this.#options.note({ kind: 'killed', id: this.label });
    await this.end();
    this.start(others);
  }

  /** SIGKILL, and no process in its place. */
  async end() {
    this.#expected = this.#child;
    this.signal('SIGKILL');
    await this.#ended;
  }

  /** Lets its process end in order, or finds that it does not. */
  async stop() {
    this.#isStopping = true;
    await this.up();
    this.write('stop');
    const patience = setTimeout(() => {
      this.#options.note({ kind: 'hung', id: this.label, result: this.#hasNoted('closed') ? 'left open' : 'hangs' });
      void this.end();
    }, PATIENCE_MS);
    await this.#ended;
    clearTimeout(patience);
  }

  get #errors() {
    return join(this.#options.directory, `${this.label}.err`);
  }

  /** @param {Entry['kind']} wanted */
  #hasNoted(wanted) {
    return readJournals([this.#options.journal(this.label)]).some(({ kind }) => kind === wanted);
  }
}
