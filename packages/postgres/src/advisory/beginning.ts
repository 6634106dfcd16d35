import type { Row } from '../server/client.ts';
import { fenceOf, ident, SCHEMA_LOCK, type Ask } from '../server/schema.ts';

/** How the server's life began: what a session learns when it is opened. */
export interface Beginning {
  /** Tells this life from others. */
  readonly life: string;
  /** How long it has lasted, by the server's clock, which may have been set since. */
  readonly upMs: number;
  /** The event that made the server forget locks without a word to their holders. Undefined: none did. */
  readonly forgot:
    | {
        /** `crash` or `promotion`. */
        readonly why: string;
        /** The life in which it was, this one or one before. */
        readonly life: string;
        /** How long ago it was at least, by the server's clock. */
        readonly ageMs: number;
      }
    | undefined;
}

/**
 * How far the fences leap after a crash of the server, a promotion or a restored backup. Fences of plain locks are not flushed to
 * the disk one by one, so such an event may take back the newest of them; no server hands out this many before its next flush.
 */
const LEAP = 2n ** 32n;

/** By the server's clock, in ms. */
const NOW = '(extract(epoch FROM clock_timestamp()) * 1000)::bigint';
/** The start of the postmaster tells one life of a server from the next, in ms. A crash of a backend alone begins none. */
const LIFE = '(extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint';
/** It has been a standby in this life: what was received, or when the last transaction was made that it replayed, is known till its end. */
const PROMOTED = '(pg_last_wal_receive_lsn() IS NOT NULL OR pg_last_xact_replay_timestamp() IS NOT NULL)';

/**
 * Makes the fences of session locks go on above one that was handed out: from transaction ids, or from a sequence that was dropped since.
 *
 * @param wasPlain other processes may have handed out transaction ids too
 */
export async function leapOver(ask: Ask, schema: string, fence: bigint, wasPlain: boolean): Promise<void> {
  const above = `greatest(${fence}, ${wasPlain ? 'pg_current_xact_id()::text::bigint' : '0'})`;
  const last = `coalesce(pg_sequence_last_value(${fenceOf(schema)}), 0)`;
  const [state] = await ask({ text: `SELECT (${last} < ${above})::text AS behind` });
  if (state?.['behind'] !== 'true') return;
  await ask({
    text: `BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_advisory_xact_lock(${SCHEMA_LOCK});
      SELECT CASE WHEN ${last} < ${above} THEN setval(${fenceOf(schema)}, ${above} + ${LEAP}) END; COMMIT`,
  });
}

/**
 * Once per session, before its first lock: makes fences grow over any event that took some of them back, and learns how the server's life
 * began, which may be too short a time ago to grant anything.
 *
 * The table `uptime` is emptied by a crash and by a promotion. Its rows say what was found out about the server since then, as
 * text: `MARK` (fences have leapt), and `MARK since MS WHY LIFE` (until a lease after MS, by the server's clock, locks may be trusted
 * that the server has forgotten). Programs of other versions do not mind rows that they do not know.
 */
export async function leapIfNeeded(ask: Ask, schema: string): Promise<Beginning> {
  const s = ident(schema);
  // This very table in this very database: a dump that is restored elsewhere brings the mark along, with older fences.
  const [here] = await ask({
    text: `SELECT d.oid || '.' || $1::regclass::oid AS mark FROM pg_database d WHERE d.datname = current_database()`,
    values: [`${s}.uptime`],
  });
  const [cluster] = await ask({ text: 'SELECT system_identifier::text AS id FROM pg_control_system()' }).catch(keptFromUs);
  const mark = `${cluster?.['id'] ?? ''}.${here?.['mark']}`;
  // Rows may be ahead of the sequence without a crash: replicated or restored without it.
  const counted = `SELECT pg_sequence_last_value(${fenceOf(schema)}) AS last, greatest(
    (SELECT max(fence) FROM ${s}.job WHERE kind = 'advisory'), (SELECT nullif(fence, 0) FROM ${s}.forgotten WHERE kind = 'advisory')) AS top`;
  const isKnown = `EXISTS (SELECT FROM ${s}.uptime WHERE mark = '${mark}')`;
  const isBehind = 'c.top IS NOT NULL AND c.top > coalesce(c.last, 0)';
  // The earliest: there is another one if the server's clock was set back behind it.
  const told = `SELECT split_part(u.mark, ' ', 3)::bigint AS since, split_part(u.mark, ' ', 4) AS why, split_part(u.mark, ' ', 5) AS life
    FROM ${s}.uptime u WHERE starts_with(u.mark, '${mark} since ') ORDER BY 1 LIMIT 1`;
  const look = async (): Promise<Row> => {
    const [state] = await ask({
      text: `SELECT (${isKnown} AND NOT (${isBehind}) AND coalesce(b.since <= ${NOW}, false))::text AS fine,
        b.why, b.life, (${NOW} - b.since)::text AS age, ${LIFE}::text AS life_now, (${NOW} - ${LIFE})::text AS up
        FROM (${counted}) AS c LEFT JOIN (${told}) AS b ON true`,
    });
    return state!;
  };
  const state = await look();
  if (state['fine'] === 'true') return beginningOf(state);
  const [promotion] = await ask({ text: `SELECT ${PROMOTED}::text AS seen` }).catch(keptFromUs);
  // A statement each, in one transaction: a session that waited for the lock has to see what the one before it did.
  await ask({
    text: `BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_advisory_xact_lock(${SCHEMA_LOCK});
      INSERT INTO ${s}.uptime SELECT '${mark} since ' || CASE
          WHEN b.since IS NOT NULL THEN ${NOW} || ' ' || b.why || ' ' || b.life
          WHEN c.last IS NULL AND c.top IS NULL THEN '0 install ' || ${LIFE}
          WHEN ${promotion?.['seen'] ?? 'false'} THEN ${NOW} || ' promotion ' || ${LIFE}
          ELSE least(${LIFE}, ${NOW}) || ' crash ' || ${LIFE} END
        FROM (${counted}) AS c LEFT JOIN (${told}) AS b ON true WHERE coalesce(b.since > ${NOW}, true) ON CONFLICT DO NOTHING;
      SELECT CASE WHEN c.last IS NULL AND c.top IS NULL THEN nextval(${fenceOf(schema)})
        ELSE setval(${fenceOf(schema)}, greatest(nextval(${fenceOf(schema)}), c.top) + ${LEAP}) END
        FROM (${counted}) AS c WHERE NOT ${isKnown} OR ${isBehind};
      INSERT INTO ${s}.uptime VALUES ('${mark}') ON CONFLICT DO NOTHING; COMMIT`,
  });
  return beginningOf(await look());
}

/** A hosted server may keep some things to itself. */
function keptFromUs(error: unknown): readonly Row[] {
  if ((error as { code?: string }).code !== undefined) return [];
  throw error;
}

function beginningOf({ why, life, age, life_now: now, up }: Row): Beginning {
  const forgot = why == null || why === 'install' ? undefined : { why, life: life!, ageMs: Number(age) };
  return { life: now!, upMs: Number(up), forgot };
}

/**
 * The same for a role without tables: whether this life of the server began with a recovery is known, and nothing of lives before it.
 * Where not even that can be asked, every start counts.
 */
export async function beginningWithoutTables(ask: Ask): Promise<Beginning> {
  const [server] = await ask({ text: `SELECT ${LIFE}::text AS life, (${NOW} - ${LIFE})::text AS up` });
  const [recovery] = await ask({ text: 'SELECT (pg_last_wal_replay_lsn() IS NOT NULL)::text AS seen' }).catch(keptFromUs);
  const { life, up } = server!;
  const isOrderly = recovery?.['seen'] === 'false';
  return { life: life!, upMs: Number(up), forgot: isOrderly ? undefined : { why: 'crash', life: life!, ageMs: Number(up) } };
}
