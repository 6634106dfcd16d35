import type { Locks } from '../server/locks.ts';
import { fenceOf } from './beginning.ts';
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
  // NULL: another session holds it.
  const take = (got: string, key: string, guard: string): string =>
    `CASE WHEN ${got} THEN CASE WHEN pg_try_advisory_xact_lock(${guard}) THEN nextval(${fenceOf(schema)})::text
       WHEN ${locks.call('pg_advisory_unlock', key)} THEN 'guarded' END END`;
  const each = 'FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS a(key, guard, ord)';
  const list = (expression: string): string => `SELECT string_agg(coalesce(${expression}, ''), ',' ORDER BY a.ord) AS answers`;
  const [tryOne, tryEach] = ['$1::bigint', 'a.key'].map((key) => locks.call('pg_try_advisory_lock', key)) as [string, string];
  const [freeOne, freeEach] = ['$1::bigint', 'a.key'].map((key) => `${locks.call('pg_advisory_unlock', key)}::text`) as [
    string,
    string,
  ];
  return {
    take: {
      one: `SELECT ${take(tryOne, '$1::bigint', '$2::bigint')} AS answers`,
      many: `${list(take(tryEach, 'a.key', 'a.guard'))} ${each}`,
    },
    keep: `SELECT ${take('true', '$1::bigint', '$2::bigint')} AS answers`,
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
  columns: readonly (readonly string[])[],
): Promise<string[]> {
  const count = columns[0]!.length;
  const [row] =
    count === 1
      ? await ask({ name, text: statement.one, values: columns.map(([only]) => only) })
      : await ask({ name: `${name}_many`, text: statement.many, values: columns.map(arrayOf) });
  const answers = row?.['answers'] ?? '';
  return count === 1 ? [answers] : answers.split(',');
}
