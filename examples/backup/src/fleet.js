// @ts-check
// Replicas as processes of their own, and what may befall them. None outlives the program that started it.

import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

const PROGRAM = fileURLToPath(new URL('replica.js', import.meta.url));
const LIFELINE = new URL('lifeline.js', import.meta.url).href;
const GRACE_MS = 5_000;

/** @typedef {{ child: import('node:child_process').ChildProcess, exited: Promise<unknown>, expected: boolean }} Replica */
/** @typedef {ReturnType<typeof createFleet>} Fleet */

/**
 * @param {object} options
 * @param {readonly string[]} options.args For every replica.
 * @param {NodeJS.ProcessEnv} options.env
 * @param {string} options.logs Where their output goes.
 * @param {(error: Error) => void} options.onCrash Told of a replica that ended by itself.
 */
export function createFleet({ args, env, logs, onCrash }) {
  /** @type {Map<string, Replica>} */
  const replicas = new Map();

  /** @param {string} name */
  function running(name) {
    const replica = replicas.get(name);
    if (replica === undefined) throw new Error(`${name} is not running.`);
    return replica;
  }

  // First of all who listen: what replicas write to is removed when they have been killed.
  process.prependListener('exit', () => {
    for (const { child } of replicas.values()) child.kill('SIGKILL');
  });

  return {
    /** @param {string} name */
    start(name) {
      const file = join(logs, `${name}.log`);
      const log = openSync(file, 'a');
      const child = spawn(process.execPath, ['--import', LIFELINE, PROGRAM, '--name', name, ...args], {
        stdio: ['pipe', log, log],
        env,
      });
      closeSync(log);
      /** @type {Replica} */
      const replica = { child, exited: once(child, 'exit'), expected: false };
      replicas.set(name, replica);
      child.once('exit', (status, signal) => {
        replicas.delete(name);
        if (replica.expected) return;
        onCrash(new Error(`${name} ended by itself (${signal ?? `status ${status}`}). Its output:\n${readFileSync(file, 'utf8')}`));
      });
    },

    /** Resolves when it is dead. @param {string} name */
    async kill(name) {
      const replica = running(name);
      replica.expected = true;
      replica.child.kill('SIGKILL');
      await replica.exited;
    },

    /** @param {string} name */
    freeze: (name) => void running(name).child.kill('SIGSTOP'),

    /** @param {string} name */
    wake: (name) => void running(name).child.kill('SIGCONT'),

    /** Asks all to end, and sees to it that they do. */
    async stop() {
      const all = [...replicas.values()];
      for (const replica of all) {
        replica.expected = true;
        replica.child.kill('SIGCONT');
        replica.child.kill('SIGTERM');
      }
      await Promise.race([Promise.all(all.map(({ exited }) => exited)), sleep(GRACE_MS, undefined, { ref: false })]);
      for (const { child } of replicas.values()) child.kill('SIGKILL');
      await Promise.all(all.map(({ exited }) => exited));
    },
  };
}
