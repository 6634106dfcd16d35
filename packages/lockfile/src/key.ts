import { createHash } from 'node:crypto';

/** Lower case only: some file systems do not tell upper from lower. No dot and no tilde, which are used for suffixes below. */
const PLAIN = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/**
 * The key of a lock's files: the name itself where that is harmless, else its readable characters and 128 bits of its SHA-256. The
 * two forms cannot meet, for only the second has a tilde.
 */
export function keyOf(name: string): string {
  if (PLAIN.test(name)) return name;
  const readable = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40);
  return `${readable}~${createHash('sha256').update(name).digest('hex').slice(0, 32)}`;
}

/** The key of the floor of all names in a store, see floor.ts. No name has it: after a tilde stand 32 digits. */
export const FLOOR_OF_ALL = '~all';

const NUMBER = /^[1-9][0-9]{0,17}$/;
/** Of a store whose locks start at 1. */
const NO_FLOOR = '0';
const FILE = /^(.+)\.([1-9][0-9]{0,17})\.(lock|paused)$/;

export function generationKey(key: string, generation: bigint): string {
  return `${key}.${checked(key, generation)}.lock`;
}

/** Each pause has a file of its own, so that no process that removes an old one can remove a new one. */
export function pauseKey(key: string, pause: bigint): string {
  return `${key}.${checked(key, pause)}.paused`;
}

export function floorKey(key: string, floor: bigint): string {
  return `${key}.${checked(key, floor)}.floor`;
}

const HIGHEST = 10n ** 18n - 1n;

/** A file with a number of more digits would be seen by no process. */
function checked(key: string, number: bigint): bigint {
  if (number > HIGHEST)
    throw new Error(`the files of the lock ${key} have no higher numbers left: remove the one that has ${HIGHEST}`);
  return number;
}

/** What stands of one lock, in rising order. */
export interface Standing {
  readonly generations: readonly bigint[];
  readonly pauses: readonly bigint[];
}

const NONE: readonly bigint[] = [];

/** The files of one lock among listed keys that begin with its key and a dot. Files of other programs are passed over. */
export function standingOf(key: string, listed: readonly string[]): Standing {
  const generations = numbersOf(key, '.lock', listed);
  return { generations, pauses: listed.length === generations.length ? NONE : numbersOf(key, '.paused', listed) };
}

export function floorsOf(key: string, listed: readonly string[]): readonly bigint[] {
  return numbersOf(key, '.floor', listed);
}

/** The files of all locks among listed keys, by the keys of the locks. */
export function standingAmong(listed: readonly string[]): Map<string, Standing> {
  const locks = new Map<string, { generations: bigint[]; pauses: bigint[] }>();
  for (const file of listed) {
    const [, key, number, kind] = FILE.exec(file) ?? [];
    if (key === undefined || number === undefined) continue;
    const known = locks.get(key) ?? { generations: [], pauses: [] };
    locks.set(key, known);
    (kind === 'lock' ? known.generations : known.pauses).push(BigInt(number));
  }
  for (const { generations, pauses } of locks.values()) {
    generations.sort(rising);
    pauses.sort(rising);
  }
  return locks;
}

function numbersOf(key: string, suffix: string, listed: readonly string[]): bigint[] {
  const found: bigint[] = [];
  for (const file of listed) {
    if (!file.endsWith(suffix) || !file.startsWith(key)) continue;
    const number = file.slice(key.length + 1, -suffix.length);
    if (NUMBER.test(number) || (suffix === '.floor' && number === NO_FLOOR)) found.push(BigInt(number));
  }
  return found.sort(rising);
}

function rising(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
