import { createHash } from 'node:crypto';
import { OptionError } from '@solorun/core';

/**
 * The key of an advisory lock: the first 8 bytes of the name's sha256, as the signed number that Postgres takes. Names that share
 * a key (one chance in 2^64 per pair) would be one lock: safe, and slow. Others who use small numbers or `hashtext()` in the same
 * database are out of the way.
 */
export function keyOf(name: string): bigint {
  return createHash('sha256').update(name).digest().readBigInt64BE(0);
}

/** @throws OptionError for the one character that Postgres cannot keep in a text. */
export function checkStorable(name: string): void {
  if (name.includes('\0'))
    throw new OptionError(`The lock name ${JSON.stringify(name.slice(0, 80))} holds a NUL character, which Postgres cannot keep.`);
}
