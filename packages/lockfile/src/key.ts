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

const LOCK = /^(.+)\.([1-9][0-9]{0,17})\.lock$/;

export function generationKey(key: string, generation: bigint): string {
  return `${key}.${generation}.lock`;
}

/** The generations of one lock among listed keys, in rising order. Files of other programs are passed over. */
export function generationsOf(key: string, listed: readonly string[]): bigint[] {
  return locksAmong(listed).get(key) ?? [];
}

/** The keys of all locks among listed files, and the generations of each, in rising order. */
export function locksAmong(listed: readonly string[]): Map<string, bigint[]> {
  const locks = new Map<string, bigint[]>();
  for (const file of listed) {
    const [, key, generation] = LOCK.exec(file) ?? [];
    if (key === undefined || generation === undefined) continue;
    const known = locks.get(key);
    if (known === undefined) locks.set(key, [BigInt(generation)]);
    else known.push(BigInt(generation));
  }
  for (const known of locks.values()) known.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return locks;
}
