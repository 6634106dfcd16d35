import type { Row } from '../server/client.ts';
import type { Locks } from '../server/locks.ts';
import { questions } from '../server/statements.ts';
import { MODE, type Confirmation, type Ending, type LockVerbs, type Mode, type Query, type Try } from './questions.ts';

const BEAT = 'pg_backend_pid()::text AS pid, pg_is_in_recovery()::text AS standby';

/** Session locks without tables of ours: all that a role can do that may create nothing. One statement each. */
export class BareLocks implements LockVerbs {
  readonly #take: Readonly<Record<Mode, string>>;
  readonly #beat: string;
  readonly #release: string;

  constructor(locks: Locks) {
    this.#take = {
      [MODE.look]: takeSql(locks, 'false'),
      [MODE.try]: takeSql(locks, locks.call('pg_try_advisory_lock', '$1::bigint')),
      [MODE.have]: takeSql(locks, 'true'),
    };
    this.#beat = `SELECT a.ord::text, 'true' AS ours, ${BEAT} FROM json_to_recordset($1::json) AS a(ord int)`;
    this.#release = `SELECT a.ord::text, 'false' AS ours,
        (CASE WHEN a.key IS NOT NULL THEN ${locks.call('pg_advisory_unlock', 'a.key')} END)::text AS freed
      FROM json_to_recordset($1::json) AS a(ord int, key bigint)`;
  }

  /** One by one: fences from transaction ids repeat within a statement. */
  async acquire(ask: Query, tries: readonly Try[]): Promise<readonly Row[]> {
    const rows: Row[] = [];
    for (const { key, guard, mode } of tries) {
      const [row] = await ask({ name: `solorun_plain_${mode}`, text: this.#take[mode], values: [key, guard] });
      rows.push(row!);
    }
    return rows;
  }

  confirm(ask: Query, confirmations: readonly Confirmation[]): Promise<readonly Row[]> {
    return ask({ name: 'solorun_plain_beat', text: this.#beat, values: [questions(confirmations)] });
  }

  release(ask: Query, endings: readonly Ending[]): Promise<readonly Row[]> {
    return ask({ name: 'solorun_plain_release', text: this.#release, values: [questions(endings)] });
  }
}

/** The holder is read off the name that its session gave itself. */
function takeSql(locks: Locks, got: string): string {
  return `WITH tried AS MATERIALIZED (
      SELECT $1::bigint AS key, CASE WHEN ${got} THEN CASE WHEN pg_try_advisory_xact_lock($2::bigint) THEN pg_current_xact_id()
        WHEN ${locks.call('pg_advisory_unlock', '$1::bigint')} THEN NULL END END AS fence
    )
    SELECT (t.fence IS NOT NULL)::text AS got, t.fence::text AS fence, s.application_name AS session,
      round((extract(epoch FROM s.backend_start) * 1000)::numeric)::text AS since,
      round((extract(epoch FROM clock_timestamp()) * 1000)::numeric)::text AS now
    FROM tried t LEFT JOIN LATERAL (
      SELECT a.application_name, a.backend_start FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
      WHERE t.fence IS NULL AND ${locks.at('t.key')} LIMIT 1
    ) s ON true`;
}
