import { LeaseLostError, OptionError, UnsupportedError, type Grant } from '@solorun/core';
import type { PostgresPool } from './client.ts';
import type { Locks } from './locks.ts';
import { ident } from './schema.ts';
import type { Key } from './keys.ts';
import { STARTED, type Session } from './session.ts';

/** How a guard learns whether a lease is over: from its row. */
interface LeaseRow {
  readonly kind: 'lease';
  readonly schema: string;
  readonly leaseMs: number;
}

/** How a guard learns whether a lease is over: from the session that holds the lock. */
interface HeldLock {
  readonly kind: 'advisory';
  readonly key: Key;
  readonly request: { readonly leaseMs: number | null };
  readonly on: { readonly session: Pick<Session, 'pid' | 'since'>; readonly locks: Locks };
  /** As far as this process knows. */
  readonly isHeld: boolean;
}

type Place = LeaseRow | HeldLock;

/** Where a grant keeps what its guard has to know: neither JSON nor a structured clone takes that along. */
const PLACE: unique symbol = Symbol('guard');

interface GuardedGrant extends Grant {
  [PLACE]?: Place;
}

export function rememberGuard(grant: GuardedGrant, place: Place): void {
  grant[PLACE] = place;
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
 * does next. Call it outside of savepoints: ROLLBACK TO one that was set before takes back the failure, and the protection too. If it is not, nobody acquires the lock before the transaction has ended: a successor sees all that was
 * committed. A holder that is paused in the middle does not keep the lock for longer than its lease: the server ends an idle
 * guarded transaction after `leaseMs` (`idle_in_transaction_session_timeout`).
 *
 * @throws LeaseLostError if another holder has acquired the lock, or it was released; OptionError outside of a transaction;
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
  const place = (grant as GuardedGrant | undefined)?.[PLACE];
  if (place === undefined) {
    throw new UnsupportedError(
      `Only leases of postgresAdvisory and postgresLease, with their tables, guard a transaction (lock ${JSON.stringify(grant?.name)}).`,
    );
  }
  const { leaseMs: lease } = place.kind === 'lease' ? place : place.request;
  const leaseMs = lease === null ? null : Math.ceil(lease);
  await askIfHeld(grant, client, guardSql(place), [grant.owner, leaseMs, ...proofOf(place, grant)]);
  // Released while the statement was on its way.
  if (place.kind === 'advisory' && !place.isHeld) await askIfHeld(grant, client, FAIL, []);
  // A setting of a transaction is gone after it; outside of one, the statement before was a transaction of its own.
  const { rows } = await client.query("SELECT current_setting('solorun.guard', true) AS guard", []);
  if ((rows[0] as { guard?: string | null } | undefined)?.guard !== grant.owner) {
    throw new OptionError(
      `guard() works within a transaction (lock ${JSON.stringify(grant.name)}): call it after BEGIN, on the connection that runs it.`,
    );
  }
}

async function askIfHeld(grant: Grant, client: PostgresPool, text: string, values: unknown[]): Promise<void> {
  try {
    await client.query(text, values);
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    if (code === '22P02' && message?.includes(MARK) === true) {
      throw new LeaseLostError(grant.name, grant.fence, 'taken', { cause: error });
    }
    throw error;
  }
}

function proofOf(place: Place, grant: Grant): unknown[] {
  if (place.kind === 'lease') return [grant.name];
  const { key, isHeld, on } = place;
  return [key.guard, isHeld, key.lock, on.session.pid, on.session.since];
}

/** A cast that fails aborts a transaction without a function of ours on the server. */
const FAIL = `SELECT ('${MARK}, ' || clock_timestamp())::int AS held`;

function guardSql(place: Place): string {
  const { first, held } = place.kind === 'lease' ? rowSql(place.schema) : lockSql(place.on.locks);
  return `WITH first AS MATERIALIZED (${first}), idle AS (
      SELECT extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval) * 1000 AS ms
      FROM (SELECT count(*) FROM first) AS done
    )
    -- The clock keeps the planner from trying the cast beforehand.
    SELECT CASE WHEN ${held} THEN 0 ELSE ('${MARK}, ' || clock_timestamp())::int END AS held,
      set_config('solorun.guard', $1, true) AS guard,
      CASE WHEN $2::bigint IS NOT NULL AND (idle.ms = 0 OR idle.ms > $2::bigint)
        THEN set_config('idle_in_transaction_session_timeout', $2::bigint::text, true) END AS bound
    FROM idle`;
}

interface Proof {
  readonly first: string;
  readonly held: string;
}

/** FOR KEY SHARE lets renewals pass and keeps takeovers out until the end of the transaction. */
function rowSql(schema: string): Proof {
  return {
    first: `SELECT 1 FROM ${ident(schema)}.job j WHERE j.kind = 'lease' AND j.name = $3 AND j.owner = $1 AND j.held FOR KEY SHARE`,
    held: 'EXISTS (SELECT FROM first)',
  };
}

/**
 * First the lock that guarded transactions share: from then on nobody acquires until the end of this one, and it waits for one that is under
 * way. Then the question whether the session still has the lock; bound to `idle`, so that it comes second.
 */
function lockSql(locks: Locks): Proof {
  return {
    first: 'SELECT pg_advisory_xact_lock_shared($3::bigint)::text',
    held: `$4 AND ${locks.held('$5::bigint', '($6::int + 0 * idle.ms)::int')}
      AND coalesce((SELECT ${STARTED} = $7::text FROM pg_stat_activity s WHERE s.pid = $6::int), true)`,
  };
}
