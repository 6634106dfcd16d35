import { LeaseLostError, OptionError, UnsupportedError, type Grant } from '@solorun/core';
import type { PostgresPool } from './client.ts';
import { ident, type Kind } from './schema.ts';

interface Place {
  readonly kind: Kind;
  readonly schema: string;
  readonly leaseMs: number | null;
}

/** Where the rows of grants are. Not on the grants: those are data, and may travel. */
const places = new WeakMap<Grant, Place>();

export function rememberGuard(grant: Grant, place: Place): void {
  places.set(grant, place);
}

/** A lease, or the context that a handler is given. */
export interface Guarded {
  readonly grant: Grant;
}

/** Begins the message of the error that the guard raises on the server. */
const MARK = 'solorun: the lock is not held any more';

/**
 * Ties a transaction to a lease: it can commit only as long as nobody else has acquired the lock. Call it within the transaction, at
 * its beginning or anywhere before the commit, on the connection that runs it; the connection leads to the database that keeps the locks.
 *
 * If the lease is over, the transaction is aborted on the server, so that nothing of it can be committed whatever the caller
 * does next. If it is not, nobody acquires the lock before the transaction has ended: a successor sees all that was
 * committed. A holder that is paused in the middle does not keep the lock for longer than its lease: the server ends an idle
 * guarded transaction after `leaseMs` (`idle_in_transaction_session_timeout`).
 *
 * @throws LeaseLostError if somebody else has acquired the lock, or it was released; OptionError outside of a transaction;
 * UnsupportedError for a lease of another provider
 * @example
 * await solo.run('billing', async (run) => {
 *   await client.query('BEGIN');
 *   await guard(run, client);
 *   await client.query('INSERT INTO invoice …');
 *   await client.query('COMMIT');
 * });
 */
export async function guard({ grant }: Guarded, client: PostgresPool): Promise<void> {
  if (typeof client?.query !== 'function' || 'totalCount' in client) {
    throw new OptionError(
      'guard() takes the one connection that runs the transaction, and not a pool, which may use another one for each statement: ' +
        'const client = await pool.connect().',
    );
  }
  const place = grant === undefined ? undefined : places.get(grant);
  if (place === undefined) {
    throw new UnsupportedError(
      `Only leases of postgresAdvisory and postgresLease, with their tables, guard a transaction (lock ${JSON.stringify(grant?.name)}).`,
    );
  }
  try {
    await client.query(guardSql(place), [
      place.kind,
      grant.name,
      grant.owner,
      place.leaseMs === null ? null : Math.ceil(place.leaseMs),
    ]);
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    if (code === '22P02' && message?.includes(MARK) === true) {
      throw new LeaseLostError(grant.name, grant.fence, 'taken', { cause: error });
    }
    throw error;
  }
  // What is set for a transaction is gone after it: on its own, the statement before was one.
  const { rows } = await client.query("SELECT current_setting('solorun.guard', true) AS guard", []);
  if ((rows[0] as { guard?: string | null } | undefined)?.guard !== grant.owner) {
    throw new OptionError(
      `guard() works within a transaction (lock ${JSON.stringify(grant.name)}): call it after BEGIN, on the connection that runs it.`,
    );
  }
}

/**
 * FOR KEY SHARE lets renewals pass and keeps takeovers out until the end of the transaction. A cast that fails is what aborts a
 * transaction without a function of ours on the server; the clock in it keeps the planner from trying it beforehand.
 */
function guardSql({ schema }: Place): string {
  return `WITH mine AS MATERIALIZED (
      SELECT 1 FROM ${ident(schema)}.job j WHERE j.kind = $1 AND j.name = $2 AND j.owner = $3 AND j.held FOR KEY SHARE
    ), idle AS (
      SELECT extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval) * 1000 AS ms
    )
    SELECT CASE WHEN EXISTS (SELECT FROM mine) THEN 0 ELSE ('${MARK}, ' || clock_timestamp())::int END AS held,
      set_config('solorun.guard', $3, true) AS guard,
      CASE WHEN $4::bigint IS NOT NULL AND (idle.ms = 0 OR idle.ms > $4::bigint)
        THEN set_config('idle_in_transaction_session_timeout', $4::bigint::text, true) END AS bound
    FROM idle`;
}
