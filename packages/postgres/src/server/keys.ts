import { createHash } from 'node:crypto';
import { OptionError } from '@solorun/core';

/**
 * Which number a name becomes. `solorun`: the first 8 bytes of its SHA-256. The others are those of programs that are replaced or
 * run beside ours: the npm package `advisory-lock` (and its `withlock`), and Python's PALs.
 */
export type Keyspace = 'solorun' | 'advisory-lock' | 'pals';

export interface Key {
  /** Of the lock: a signed number of 64 bits, which Postgres takes as one or as two of 32 bits. */
  readonly lock: string;
  /** Of the lock that guarded transactions share and an acquisition needs for itself, for a moment. */
  readonly guard: string;
}

export interface Keys {
  /** The locks are those of two numbers. */
  readonly pairs: boolean;
  of(name: string): Key;
}

/** Names that a process goes on using cost their digest once. */
const REMEMBERED = 10_000;

/**
 * Names that share a key (one chance in 2^64 per pair) would be one lock: safe, and slow. Others who use small numbers or
 * `hashtext()` in the same database are out of the way.
 */
export function keysOf(keyspace: Keyspace): Keys {
  const lockOf = lockKeys[keyspace];
  const known = new Map<string, Key>();
  return {
    pairs: keyspace === 'advisory-lock',
    of(name) {
      let key = known.get(name);
      if (key !== undefined) return key;
      const digest = createHash('sha256').update(name).digest();
      key = { lock: String(lockOf(name, digest)), guard: String(digest.readBigInt64BE(8)) };
      if (known.size >= REMEMBERED) known.clear();
      known.set(name, key);
      return key;
    },
  };
}

const lockKeys: Readonly<Record<Keyspace, (name: string, sha256: Buffer) => bigint>> = {
  solorun: (_, sha256) => sha256.readBigInt64BE(0),
  // build/index.js of advisory-lock 2.0.0: two integers of 32 bits, little-endian.
  'advisory-lock': (_, sha256) => (BigInt(sha256.readInt32LE(0)) << 32n) | BigInt(sha256.readUInt32LE(4)),
  // _lock_num of pals/core.py: struct's native 'q', which is little-endian on every machine that it is likely to run on.
  pals: (name) => createHash('sha1').update(name).digest().readBigInt64LE(0),
};

/** @throws OptionError */
export function checkKeyspace(keyspace: string): asserts keyspace is Keyspace {
  if (Object.hasOwn(lockKeys, keyspace)) return;
  throw new OptionError(`keyspace is ${Object.keys(lockKeys).join(', ')}, not ${JSON.stringify(keyspace)}.`);
}

/** @throws OptionError for the one character that Postgres cannot keep in a text. */
export function checkStorable(name: string): void {
  if (name.includes('\0'))
    throw new OptionError(`The lock name ${JSON.stringify(name.slice(0, 80))} holds a NUL character, which Postgres cannot keep.`);
}
