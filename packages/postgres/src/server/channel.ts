import { createHash } from 'node:crypto';
import { DEFAULT_SCHEMA } from './schema.ts';

/** Identifiers end at 63 bytes, and a schema's name may be as long already. */
export function channelOf(schema: string): string {
  return schema === DEFAULT_SCHEMA ? 'solorun' : `solorun_${createHash('sha256').update(schema).digest('hex').slice(0, 16)}`;
}
