import { readdirSync, readFileSync } from 'node:fs';

/** Handed down in the environment, so that even what left its group, its session and its parents can be recognised. */
export const RUN_VARIABLE = 'SOLORUN_RUN';

/** The processes that a command became. */
export interface Tree {
  /** Of the command itself; undefined while it is not known. */
  readonly pid: number | undefined;
  /** The command leads a process group of its own, which the kernel can signal as a whole. */
  readonly ownGroup: boolean;
  /** The command itself has ended and was collected: a process that has its number now is another one. */
  readonly over: boolean;
  /** The end of this run's `SOLORUN_RUN`. */
  readonly nonce: string;
}

const readable = process.platform === 'linux';

interface Stat {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly dead: boolean;
}

/**
 * The living processes of the tree. Linux shows them all: the group, the descendants, and each process that carries the nonce (a daemon
 * that started a session of its own). Elsewhere it is the group, or only the command.
 */
export function alive(tree: Tree): readonly number[] {
  const { ownGroup } = tree;
  if (!readable) return tree.pid !== undefined && send(ownGroup ? -tree.pid : tree.pid, 0) ? [tree.pid] : [];
  const all = readAll();
  const root = rootOf(tree, (pid) => all.some((each) => each.pid === pid));
  const members = new Set<number>();
  for (const { pid, group } of all) {
    if (pid === root || (ownGroup && group === root)) members.add(pid);
  }
  for (const { pid } of all) if (!members.has(pid) && carries(pid, tree.nonce)) members.add(pid);
  // Children stand after their parents or before them, so the search goes on until it finds no more.
  for (let before = -1; before !== members.size;) {
    before = members.size;
    for (const { pid, parent } of all) if (members.has(parent)) members.add(pid);
  }
  members.delete(process.pid);
  return all.filter(({ pid, dead }) => !dead && members.has(pid)).map(({ pid }) => pid);
}

/** Sends a signal to all of it. False: no process was left. */
export function signalTree(tree: Tree, signal: NodeJS.Signals): boolean {
  const members = alive(tree);
  const { ownGroup } = tree;
  const root = rootOf(tree, (pid) => readable && readStat(pid) !== undefined);
  // The group as a whole, so that a process that forks meanwhile is not left out.
  if (ownGroup && root !== undefined) send(-root, signal);
  for (const pid of members) if (!ownGroup || (readable && groupOf(pid) !== root)) send(pid, signal);
  return members.length > 0;
}

/** Process numbers are reused. The number of a group is kept from new processes only while a process is left in it. */
function rootOf({ pid, over }: Tree, exists: (pid: number) => boolean): number | undefined {
  return pid !== undefined && over && exists(pid) ? undefined : pid;
}

/** False: there is no such process. One that may not be signalled (it became another user's) does exist. */
function send(target: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(target, signal);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ESRCH') return false;
    if (code === 'EPERM') return true;
    throw error;
  }
}

function readAll(): readonly Stat[] {
  return readdirSync('/proc').flatMap((entry) => (/^\d+$/.test(entry) ? (readStat(Number(entry)) ?? []) : []));
}

function readStat(pid: number): Stat | undefined {
  const text = readQuietly(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name, in parentheses, may contain any character.
  const [state, parent, group] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { pid, parent: Number(parent), group: Number(group), dead: state === 'Z' || state === 'X' };
}

function groupOf(pid: number): number | undefined {
  return readStat(pid)?.group;
}

function carries(pid: number, nonce: string): boolean {
  const variables = readQuietly(`/proc/${pid}/environ`)?.split('\0') ?? [];
  return variables.some((variable) => variable.startsWith(`${RUN_VARIABLE}=`) && variable.includes(nonce));
}

/** Undefined for a process that has ended meanwhile, or is another user's. */
function readQuietly(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return undefined;
    throw error;
  }
}
