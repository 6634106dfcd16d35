// @ts-check
// Which processes belong to a server, and the end of all of them. A server runs in a directory of its own, so that its processes are
// known by where they work: also those whose parent is gone, and with no process id that somebody else may have by now.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The processes that work in a directory, the oldest first as a rule. What has ended and was not yet waited for does not count.
 *
 * @param {string} directory its real path
 * @returns {number[]}
 */
export function processesIn(directory) {
  if (process.platform !== 'linux') return processesNaming(directory);
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  return pids.filter((pid) => {
    try {
      const cwd = readlinkSync(`/proc/${pid}/cwd`);
      // A directory that was removed below a process has this at its end.
      return cwd.replace(/ \(deleted\)$/, '') === directory;
    } catch (error) {
      // Gone, a zombie, or somebody else's.
      if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(codeOf(error))) return false;
      throw error;
    }
  });
}

/**
 * Where there is no /proc: what names the directory on its command line, and its children.
 *
 * @param {string} directory
 */
function processesNaming(directory) {
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,command='], { encoding: 'utf8' });
  const all = stdout.split('\n').flatMap((line) => {
    const [, pid, parent, state, command] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    return command === undefined || state?.startsWith('Z') ? [] : [{ pid: Number(pid), parent: Number(parent), command }];
  });
  const found = all.filter(({ pid, command }) => command.includes(directory) && pid !== process.pid).map(({ pid }) => pid);
  return [...found, ...all.filter(({ pid, parent }) => found.includes(parent) && !found.includes(pid)).map(({ pid }) => pid)];
}

/**
 * A process and all that descend from it.
 *
 * @param {number} pid
 * @returns {number[]} itself first
 */
export function treeOf(pid) {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        // The name of the program, in parentheses, may contain anything.
        const [, parent] = /^\d+ \(.*\) \S (\d+)/s.exec(readFileSync(`/proc/${name}/stat`, 'utf8')) ?? [];
        return [{ pid: Number(name), parent: Number(parent) }];
      } catch (error) {
        if (['ENOENT', 'ESRCH'].includes(codeOf(error))) return [];
        throw error;
      }
    });
  const tree = [pid];
  for (const member of tree) tree.push(...parents.filter(({ parent }) => parent === member).map((one) => one.pid));
  return tree;
}

/**
 * @param {readonly number[]} pids
 * @param {NodeJS.Signals} signal
 */
export function signalAll(pids, signal) {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (codeOf(error) !== 'ESRCH') throw error;
    }
  }
}

/**
 * Ends whatever works in the directory, and removes it; returns when that is so. It waits without the event loop, so that it can be
 * done while a process exits.
 *
 * @param {string} directory
 */
export function removeNow(directory) {
  // Postgres frees its shared memory at SIGQUIT. What is stopped takes no signal before it goes on.
  let signal = /** @type {NodeJS.Signals} */ ('SIGQUIT');
  const deadline = performance.now() + 2_000;
  for (;;) {
    const pids = processesIn(directory);
    if (pids.length === 0) break;
    signalAll(pids, signal);
    signalAll(pids, 'SIGCONT');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    if (performance.now() > deadline) signal = 'SIGKILL';
  }
  freeSharedMemory(directory);
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}

/**
 * A postmaster that was killed leaves a small System V segment behind, which only its next start on the same data would free.
 *
 * @param {string} directory
 */
function freeSharedMemory(directory) {
  const file = join(directory, 'postmaster.pid');
  if (!existsSync(file)) return;
  // The seventh line: its key and its identifier. https://www.postgresql.org/docs/current/storage-file-layout.html
  const [, id] = /^\s*-?\d+\s+(\d+)\s*$/.exec(readFileSync(file, 'utf8').split('\n')[6] ?? '') ?? [];
  if (id !== undefined) spawnSync('ipcrm', ['-m', id], { stdio: 'ignore' });
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function codeOf(error) {
  return String(/** @type {NodeJS.ErrnoException} */ (error).code);
}
