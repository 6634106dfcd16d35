// @ts-check
// Who runs on which processor. A round trip between two processes takes 0.1 ms when they share a processor and up to 0.6 ms when the
// other one has to wake up first, and a scheduler that is left to itself flips between the two: ratios are noise then.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { treeOf } from '@solorun/servers/processes';

const cpus = pinnableCpus();

/** The processors that are used; undefined where processes cannot be pinned, and the figures are loose. */
export const pinned = cpus.length === 0 ? undefined : { server: cpus.at(-1) ?? 0, client: cpus[0] ?? 0 };

/**
 * This process, those it started, the server and all that belongs to it: on one processor. Both what runs now and what is started
 * from now on.
 *
 * @param {number} [server] the postmaster's process id
 */
export function pinTogether(server) {
  if (pinned === undefined) return;
  for (const pid of [process.pid, ...(server === undefined ? [] : [server])]) pinTree(pid, pinned.server);
}

/**
 * The server on one processor, this process and what it started on another.
 *
 * @param {number} server the postmaster's process id
 */
export function pinApart(server) {
  if (pinned === undefined) return;
  pinTree(process.pid, pinned.client);
  pinTree(server, pinned.server);
}

/** Any processor for this process and what it starts from now on. */
export function unpin() {
  if (cpus.length > 0) taskset(process.pid, cpus.join());
}

/** @param {number} pid @param {number} cpu */
function pinTree(pid, cpu) {
  for (const each of treeOf(pid)) taskset(each, String(cpu));
}

/** @param {number} pid @param {string} list */
function taskset(pid, list) {
  const { status, stderr } = spawnSync('taskset', ['-a', '-p', '-c', list, String(pid)], { encoding: 'utf8' });
  // A backend may have ended in between.
  if (status !== 0 && !/No such process/.test(stderr)) throw new Error(`Process ${pid} cannot be pinned: ${stderr}`);
}

/** Those that this process may use, where it can be told which of them to use. */
function pinnableCpus() {
  if (process.platform !== 'linux' || spawnSync('taskset', ['-p', String(process.pid)]).status !== 0) return [];
  const [, list = ''] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}
