import { quote } from '@solorun/core';
import type { Row, Statement } from './client.ts';
import { ident, type Kind } from './schema.ts';

/**
 * A name that is free and cannot be had, because another transaction has locked its row: one that an operator has forgotten to commit, or
 * one that the last holder guarded.
 */
export interface RowLocked {
  /**
   * The transaction in the way, and the remedy, in words; also given as a warning, once a minute at most. Undefined: no transaction
   * that has been under way for longer than a statement of ours.
   */
  explain(name: string): Promise<string | undefined>;
}

/** A transaction that is no older than this is the statement of another process, in ms. */
const BRIEF_MS = 1_000;
const TOLD_EVERY_MS = 60_000;

export function createRowLocked(
  kind: Kind,
  schema: string,
  ask: (statement: Statement) => Promise<readonly Row[]>,
  warn: (message: string) => void,
): RowLocked {
  const statement = blockersSql(kind, `${ident(schema)}.job`);
  let toldAt = Number.NEGATIVE_INFINITY;

  async function blockersOf(name: string): Promise<readonly Row[]> {
    const values = [name];
    const single = await ask({ text: statement.single, values });
    if (single.length > 0) return single;
    // An error of the server: there is no such group of lockers, or none any more.
    return ask({ text: statement.several, values }).catch((error: unknown) => {
      if ((error as { code?: string }).code !== undefined) return [];
      throw error;
    });
  }

  return {
    async explain(name) {
      const lasting = (await blockersOf(name)).filter(({ age_ms: ageMs }) => ageMs == null || Number(ageMs) >= BRIEF_MS);
      if (lasting.length === 0) return undefined;
      const pids = lasting.flatMap(({ pid }) => (pid == null ? [] : [pid]));
      const detail =
        pids.length === 0
          ? 'its row is locked by a prepared transaction: commit it or roll it back (pg_prepared_xacts shows it)'
          : `its row is locked by a transaction (server process ${pids.join(', ')}): commit it, roll it back, or end its session with pg_terminate_backend`;
      if (performance.now() >= toldAt + TOLD_EVERY_MS) {
        toldAt = performance.now();
        warn(`nobody can acquire ${quote(name)}: ${detail}.`);
      }
      return detail;
    },
  };
}

/** The version of the row that a statement sees bears the transaction that has locked it, or the number of a group of them. */
function blockersSql(kind: Kind, job: string): { readonly single: string; readonly several: string } {
  const text = (lockers: string): string => `SELECT DISTINCT l.pid::text AS pid,
      round((extract(epoch FROM clock_timestamp() - a.xact_start) * 1000)::numeric)::text AS age_ms
    FROM ${job} j CROSS JOIN LATERAL ${lockers} AS m(xid)
    JOIN pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = m.xid
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE j.kind = '${kind}' AND j.name = $1`;
  return { single: text('(SELECT j.xmax)'), several: text('(SELECT g.xid FROM pg_get_multixact_members(j.xmax) g)') };
}
