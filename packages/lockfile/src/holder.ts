import { readFileSync, readlinkSync } from 'node:fs';
import type { Proof, StoredFile } from './store.ts';

/** This process as others on the machine can find it. Outside Linux there is no boot id, and only expiry frees the lock of a dead holder. */
export function processProof(): Proof {
  const self = readProcess('self');
  return {
    pid: process.pid,
    bootId: tryRead(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()),
    pidNamespace: tryRead(() => readlinkSync('/proc/self/ns/pid')),
    startTime: typeof self === 'object' ? self.startTime : undefined,
  };
}

/**
 * Whether the holder of a file is known to be dead. False also when that cannot be known from here: then expiry decides.
 *
 * On the same kernel a lock that the holder took on its own file, and that is free now, proves the death across containers and reused
 * pids. But only on the same device: two mounts of one network file system do not share their locks. Without a kernel lock, boot,
 * pid namespace, pid and start time must all match before the process table counts.
 */
export function isKnownDead(holder: Proof, file: StoredFile, self: Proof): boolean {
  if (holder.bootId === undefined || holder.bootId !== self.bootId) return false;
  if (holder.lockedOn !== undefined && holder.lockedOn === file.device && file.unlocked !== undefined) return file.unlocked;
  if (holder.pidNamespace === undefined || holder.pidNamespace !== self.pidNamespace || holder.startTime === undefined)
    return false;
  const found = readProcess(holder.pid);
  if (found === 'hidden') return false;
  return found === undefined || found.startTime !== holder.startTime || found.state === 'Z' || found.state === 'X';
}

/** Undefined: no such process. `hidden`: /proc does not say. */
function readProcess(pid: number | 'self'): { state: string; startTime: string } | 'hidden' | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A /proc mounted with hidepid shows other users' processes as not found: only the kernel's own "no such process" counts.
    return (code === 'ENOENT' || code === 'ESRCH') && isGone(Number(pid)) ? undefined : 'hidden';
  }
  // The command's name, in parentheses, may itself hold spaces and parentheses: count from the last one (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', startTime: fields[19] ?? '' };
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** For files that only Linux has. */
function tryRead(read: () => string): string | undefined {
  try {
    return read();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return undefined;
  }
}
