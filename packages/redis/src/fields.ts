import type { Holder, Identity } from '@solorun/core';

/** The fields that make a record (lua.ts), in the order in which they are read: all but the runs, which would be most of an answer. */
export const RECORD_FIELDS: readonly string[] =
  'owner by fence since lease until mark ok took error schedule plan next known ran ranby paused'.split(' ');

export type Fields = Readonly<Record<string, string | undefined>>;

/** Null, or false in JSON that Lua has written, for a field that is not there. */
export type Values = readonly (string | null | false)[];

export function fieldsOf(values: Values): Fields {
  const of: Record<string, string> = {};
  for (const [index, field] of RECORD_FIELDS.entries()) {
    const value = values[index];
    if (typeof value === 'string') of[field] = value;
  }
  return of;
}

export function holderOf(by: string, sinceUs: number): Holder {
  return { ...(JSON.parse(by) as Identity), since: dateOf(sinceUs) };
}

export function dateOf(us: number): Date {
  return new Date(us / 1_000);
}
