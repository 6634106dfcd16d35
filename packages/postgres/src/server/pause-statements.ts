import type { Place } from './schema.ts';
import { FLUSH, ms } from './sql.ts';

/** The pause `p` as text. */
const PAUSE = `json_build_object('until', ${ms('p.until')}, 'by', p.by, 'note', p.note)::text`;

/** The pauses of a name that are in force: one at most. An expression that is NULL names nothing. */
function inForceSql({ kind, pause }: Place, name: string): string {
  return `FROM ${pause} p WHERE p.kind = '${kind}' AND p.name = ${name} AND p.until > clock_timestamp()`;
}

/**
 * Whether a name is paused: asked within the statement that acquires it. A pause that had been committed when that statement was sent is
 * in its snapshot.
 */
export function isPausedSql(place: Place, name: string): string {
  return `EXISTS (SELECT ${inForceSql(place, name)})`;
}

/** The pause of a name as text, or NULL. */
export function pauseOfSql(place: Place, name: string): string {
  return `(SELECT ${PAUSE} ${inForceSql(place, name)})`;
}

/** Until `$2`, in ms since the epoch, or for `$3` ms. */
export function pauseSql({ kind, pause }: Place): string {
  const until = `coalesce(to_timestamp($2::float8 / 1000), clock_timestamp() + $3::float8 * interval '1 millisecond')`;
  return `INSERT INTO ${pause} AS p (kind, name, until, by, note) VALUES ('${kind}', $1, date_trunc('milliseconds', ${until}), $4, $5)
    ON CONFLICT (kind, name) DO UPDATE SET until = excluded.until, by = excluded.by, note = excluded.note
    RETURNING ${PAUSE} AS pause, ${FLUSH} AS flush`;
}

/** Needs no right to delete, as only `forget` does; which also removes what is over. */
export function resumeSql({ kind, pause }: Place): string {
  return `UPDATE ${pause} p SET until = '-infinity' WHERE p.kind = '${kind}' AND p.name = $1 AND p.until > clock_timestamp()
    RETURNING ${FLUSH} AS flush`;
}

/** A page of 500 pauses in force, after the name `$2`. */
export function pausesSql({ kind, pause }: Place): string {
  return `SELECT p.name, ${PAUSE} AS pause FROM ${pause} p WHERE p.kind = '${kind}' AND p.until > clock_timestamp()
    AND starts_with(p.name, $1) AND p.name > $2 ORDER BY p.name LIMIT 500`;
}
