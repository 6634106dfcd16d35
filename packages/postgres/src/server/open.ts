import { ProviderError } from '@solorun/core';
import { onceAborted } from '@solorun/core/server';
import { connect, type PostgresConnection } from './client.ts';
import { PoolerDetectedError, sqlState, standbyError } from './errors.ts';
import { Answers, OpenSession, STARTED, type Session } from './session.ts';

export interface SessionTerms {
  readonly kind: string;
  readonly connection: PostgresConnection;
  /** For people who look into `pg_stat_activity`. */
  readonly applicationName: string;
  /** Settings for the whole session; `undefined` leaves one alone, and those that the server does not know yet are left out. */
  readonly settings: Readonly<Record<string, string | undefined>>;
  /** A pooler that shares connections is no error. */
  readonly allowPooler: boolean;
  readonly timeoutMs: number;
  /** Ends the attempt, and not the session that came of it. */
  readonly signal: AbortSignal;
}

/** Settings that came with a version of the server. */
const SINCE: Readonly<Record<string, number>> = { idle_session_timeout: 140_000, client_connection_check_interval: 140_000 };
/** Settings that the kernel decides on: refused on some systems, read back as 0 on a Unix socket, and rounded elsewhere. */
const ADVICE = new Set([
  'client_connection_check_interval',
  'tcp_keepalives_idle',
  'tcp_keepalives_interval',
  'tcp_keepalives_count',
  'tcp_user_timeout',
]);
const OLDEST = 130_000;

/**
 * Connects, finds out who is at the other end, and makes the session what the terms say.
 *
 * @throws PoolerDetectedError; ProviderError for a hot standby, a server that is too old, settings that do not stick
 */
export async function openSession(terms: SessionTerms): Promise<Session> {
  const { kind, connection, timeoutMs, signal } = terms;
  const loss = new AbortController();
  const lose = (error: Error): void => {
    if (!loss.signal.aborted) loss.abort(error);
  };
  const client = await connect(connection, timeoutMs, lose, signal);
  const unlink = onceAborted(signal, () => lose(signal.reason as Error));
  try {
    const look = {
      text: `SELECT pg_backend_pid()::text AS pid, pg_is_in_recovery()::text AS standby,
        (SELECT ${STARTED} FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS since`,
    };
    const answers = new Answers(client, loss);
    const [greeting] = await answers.wait(client.query(look), timeoutMs);
    if (greeting?.['standby'] === 'true') throw standbyError(kind);
    const [server] = await answers.wait(
      client.query({ text: "SELECT current_setting('server_version_num') AS version" }),
      timeoutMs,
    );
    const version = Number(server?.['version']);
    if (version < OLDEST) {
      throw new ProviderError(
        kind,
        'connect',
        `the server is version ${Math.floor(version / 10_000)}; 13 is the oldest that works`,
      );
    }
    const pid = Number(greeting?.['pid']);
    // A pooler tells its clients a process id of its own invention.
    const proxied = client.announcedPid !== pid;
    const direct = !proxied || !terms.allowPooler;
    const about = { pid, since: greeting?.['since'] ?? '', version, proxied, direct };
    const session = new OpenSession(client, loss, answers, about);
    if (direct) await settle(session, terms);
    return session;
  } catch (error) {
    client.destroy();
    throw error;
  } finally {
    unlink();
  }
}

/** Sets what the terms say, and reads it back: poolers drop settings without a word. */
async function settle(session: Session, terms: SessionTerms): Promise<void> {
  const wanted = Object.entries({
    application_name: terms.applicationName,
    // The user's defaults must not change what a statement of ours means.
    default_transaction_isolation: 'read committed',
    statement_timeout: '0',
    // Our statements have one good plan whatever their parameters are, and planning costs more than running them.
    plan_cache_mode: 'force_generic_plan',
    idle_in_transaction_session_timeout: '0',
    ...terms.settings,
  }).filter((entry): entry is [string, string] => entry[1] !== undefined && session.version >= (SINCE[entry[0]] ?? 0));
  const set = (some: typeof wanted): Promise<unknown> =>
    session.query(
      { text: `SELECT ${some.map(([name, value]) => `set_config('${name}', ${literal(value)}, false)`).join(', ')}` },
      terms.timeoutMs,
    );
  await set(wanted.filter(([name]) => !ADVICE.has(name)));
  for (const one of wanted.filter(([name]) => ADVICE.has(name))) {
    await set([one]).catch((error: unknown) => {
      // invalid_parameter_value: the system of the server has no such thing.
      if (sqlState(error) !== '22023') throw error;
    });
  }
  const got = await session.query(
    {
      text: `SELECT w.name, w.value::text AS wanted, s.setting, s.unit FROM pg_settings s
             JOIN unnest($1::text[], $2::text[]) AS w(name, value) ON w.name = s.name WHERE s.setting <> w.value`,
      values: [wanted.map(([name]) => name), wanted.map(([, value]) => value)],
    },
    terms.timeoutMs,
  );
  const dropped = got.filter(({ name }) => name !== null && !ADVICE.has(name!) && name !== 'application_name');
  if (dropped.length === 0) return;
  const names = dropped.map(({ name, wanted: value, setting }) => `${name} = ${value} (it stays ${setting})`).join(', ');
  throw new PoolerDetectedError(terms.kind, `the server or a pooler does not keep ${names}`);
}

/** For values of settings alone, which are ours or a host's name. */
function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
