import type { Locks } from '../server/locks.ts';
import { isPausedSql } from '../server/pause-statements.ts';
import { placeOf } from '../server/schema.ts';
import type { Query } from './questions.ts';

/** One question with plain parameters, which cost the server a third of what arrays or JSON do; several with arrays. */
export interface Pair {
  readonly one: string;
  readonly many: string;
}

/** The most frequent questions, as cheap as can be: nothing but the lock and its fence. The ledger records the holder afterwards. */
export function lockStatements(
  schema: string,
  locks: Locks,
): { readonly take: Pair; readonly keep: string; readonly wait: string; readonly free: Pair } {
  const place = placeOf('advisory', schema);
  const paused = (name: string): string => isPausedSql(place, name);
  // NULL: another session holds it.
  const fence = (got: string, key: string, guard: string): string =>
    `WHEN ${got} THEN CASE WHEN pg_try_advisory_xact_lock(${guard}) THEN nextval(${place.fence})::text
       WHEN ${locks.call('pg_advisory_unlock', key)} THEN 'guarded' END`;
  const take = (got: string, key: string, guard: string, name: string): string =>
    `CASE WHEN ${paused(name)} THEN 'paused' ${fence(got, key, guard)} END`;
  const each = 'FROM unnest($1::bigint[], $2::bigint[], $3::text[]) WITH ORDINALITY AS a(key, guard, name, ord)';
  const list = (expression: string): string => `SELECT string_agg(coalesce(${expression}, ''), ',' ORDER BY a.ord) AS answers`;
  const [tryOne, tryEach] = ['$1::bigint', 'a.key'].map((key) => locks.call('pg_try_advisory_lock', key)) as [string, string];
  const [freeOne, freeEach] = ['$1::bigint', 'a.key'].map((key) => `${locks.call('pg_advisory_unlock', key)}::text`) as [
    string,
    string,
  ];
  return {
    take: {
      one: `SELECT ${take(tryOne, '$1::bigint', '$2::bigint', '$3')} AS answers`,
      many: `${list(take(tryEach, 'a.key', 'a.guard', 'a.name'))} ${each}`,
    },
    keep: `SELECT CASE WHEN ${paused('$3')} THEN CASE WHEN ${locks.call('pg_advisory_unlock', '$1::bigint')} THEN 'paused' END
      ${fence('true', '$1::bigint', '$2::bigint')} END AS answers`,
    wait: `SELECT (CASE WHEN ${locks.call('pg_advisory_lock', '$1::bigint')}::text = '' THEN pg_try_advisory_xact_lock($2::bigint) END)::text AS clear`,
    free: {
      one: `SELECT ${freeOne} AS answers`,
      many: `${list(freeEach)} FROM unnest($1::bigint[]) WITH ORDINALITY AS a(key, ord)`,
    },
  };
}

/** An array parameter of numbers: nothing in them needs quotes. */
export function arrayOf(values: readonly string[]): string {
  return `{${values.join(',')}}`;
}

/** With plain parameters for one question, with arrays for several: an answer for each, in order. */
export async function answersOf(
  ask: Query,
  name: string,
  statement: Pair,
  columns: readonly (readonly (string | null)[])[],
): Promise<string[]> {
  const count = columns[0]!.length;
  const [row] =
    count === 1
      ? await ask({ name, text: statement.one, values: columns.map(([only]) => only) })
      : await ask({ name: `${name}_many`, text: statement.many, values: [...columns] });
  const answers = row?.['answers'] ?? '';
  return count === 1 ? [answers] : answers.split(',');
}
