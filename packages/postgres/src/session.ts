import { setTimeout as sleep } from 'node:timers/promises';
import { ProviderError } from '@solorun/core';
import { onceAborted } from '@solorun/core/server';
import { connect, type PostgresClient, type PostgresConnection, type Row, type Statement } from './client.ts';
import { PoolerDetectedError } from './errors.ts';

/** One connection of our own: one statement at a time, each bounded, and an end that everybody is told of. */
export interface Session {
  /** The server's process that serves it. */
  readonly pid: number;
  /** When that began, by the server's clock, in µs: process ids come round again. */
  readonly since: string;
  /** `server_version_num`: 160004. */
  readonly version: number;
  /** The other end told a process id that is not the backend's. */
  readonly proxied: boolean;
  /** Statements can be prepared, settings stay, notifications arrive: false behind a pooler that shares connections. */
  readonly direct: boolean;
  /** Aborts when the session has ended, with the reason as an error. Locks it held are free, or about to be. */
  readonly lost: AbortSignal;
  /** A statement is under way, or waits for its turn. */
  readonly busy: boolean;
  /** When the last statement was sent, by `performance.now()`. */
  readonly sentAt: number;
  /** When the last answer came. */
  readonly answeredAt: number;
  /** How long it took, in ms. */
  readonly tookMs: number;
  /** Stands in line, runs, and ends the whole session if no answer comes in time: what is behind it must not wait for ever. */
  query(statement: Statement, timeoutMs: number): Promise<readonly Row[]>;
  /** Takes a place in the line for something that composes its statement only when its turn has come. */
  inLine<T>(job: (query: (statement: Statement, timeoutMs: number) => Promise<readonly Row[]>) => Promise<T>): Promise<T>;
  onNotification(listener: (channel: string, payload: string) => void): void;
  /** Ends it at once, without a word to the server. */
  destroy(reason: Error): void;
  /** Ends it politely, within a second. */
  end(): Promise<void>;
}

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

/** When a backend of `pg_stat_activity` began, in µs: no setting of a session changes how that is written. */
export const STARTED = '(extract(epoch FROM backend_start) * 1000000)::bigint::text';

/** Settings that came with a version of the server. */
const SINCE: Readonly<Record<string, number>> = { idle_session_timeout: 140_000, client_connection_check_interval: 140_000 };
/** What the kernel decides: refused on some systems, read back as 0 on a Unix socket, and rounded elsewhere. */
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
    const bound = createBound(client, loss, () => {});
    const [greeting] = await bound(client.query(look), timeoutMs);
    if (greeting?.['standby'] === 'true') throw standbyError(kind);
    const [server] = await bound(client.query({ text: "SELECT current_setting('server_version_num') AS version" }), timeoutMs);
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
    const session = createSession(client, loss, { pid, since: greeting?.['since'] ?? '', version, proxied, direct });
    if (direct) await settle(session, terms);
    return session;
  } catch (error) {
    client.destroy();
    throw error;
  } finally {
    unlink();
  }
}

export function standbyError(kind: string): ProviderError {
  return new ProviderError(
    kind,
    'lock on a hot standby',
    'the server is one (pg_is_in_recovery), and its locks are not those of the primary. Connect to the primary: give the ' +
      'address of the writer, or all the hosts, as in postgres://user@host1:5432,host2:5432/database',
  );
}

/** For a while, as where a disk is nearly full: it is asked again at the next try. */
export function readOnlyError(kind: string): ProviderError {
  return new ProviderError(
    kind,
    'lock here',
    'the database is read-only (default_transaction_read_only is on), so neither fences nor records can be written. Set it off, or ' +
      'wait until the operator does: the next try looks again',
  );
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
      if ((error as { code?: string }).code !== '22023') throw error;
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

function createSession(
  client: PostgresClient,
  loss: AbortController,
  about: Pick<Session, 'pid' | 'since' | 'version' | 'proxied' | 'direct'>,
): Session {
  let tail: Promise<unknown> | undefined;
  let sentAt = performance.now();
  let answeredAt = sentAt;
  let tookMs = 0;
  let waiting = 0;
  const bound = createBound(client, loss, () => {
    answeredAt = performance.now();
    tookMs = answeredAt - sentAt;
  });
  client.keepAlive(false);

  const destroy = (reason: Error): void => {
    if (!loss.signal.aborted) loss.abort(reason);
    client.destroy();
  };

  function now(statement: Statement, timeoutMs: number): Promise<readonly Row[]> {
    if (loss.signal.aborted) return Promise.reject(unsent(loss.signal.reason as Error));
    sentAt = performance.now();
    const { text, values } = statement;
    return bound(client.query(about.direct ? statement : { text, ...(values && { values }) }), timeoutMs);
  }

  /** Begins at once if nothing is before it. */
  async function take<T>(before: Promise<unknown> | undefined, job: (query: typeof now) => Promise<T>): Promise<T> {
    if (before !== undefined) await before.catch(() => {});
    if (loss.signal.aborted) throw unsent(loss.signal.reason as Error);
    return job(now);
  }

  const session: Session = {
    ...about,
    lost: loss.signal,
    get busy() {
      return waiting > 0;
    },
    get sentAt() {
      return sentAt;
    },
    get answeredAt() {
      return answeredAt;
    },
    get tookMs() {
      return tookMs;
    },
    query: (statement, timeoutMs) => session.inLine((query) => query(statement, timeoutMs)),
    inLine(job) {
      // What is asked keeps the process alive; a lock that is merely held does not.
      if ((waiting += 1) === 1) client.keepAlive(true);
      const turn = take(tail, job);
      tail = turn;
      const end = (): void => {
        if ((waiting -= 1) === 0) client.keepAlive(false);
        if (tail === turn) tail = undefined;
      };
      turn.then(end, end);
      return turn;
    },
    onNotification: (listener) => client.onNotification(listener),
    destroy,
    async end() {
      client.keepAlive(true);
      if (!loss.signal.aborted) loss.abort(new Error('the session was closed'));
      // A pooler may hand the backend to somebody else, and not every one of them cleans it up before.
      const clean = about.proxied ? client.query({ text: 'SELECT pg_advisory_unlock_all()::text' }) : undefined;
      const goodbye = Promise.resolve(clean).then(() => client.end());
      await Promise.race([goodbye.catch(() => {}), sleep(1_000, undefined, { ref: false })]);
      client.destroy();
    },
  };
  return session;
}

/**
 * Waits for an answer, but no longer than until the session ends or the time is over; then it ends the session. One timer for all
 * statements: it is left to fire, and looks whether somebody still waits.
 */
function createBound(
  client: PostgresClient,
  loss: AbortController,
  onAnswer: () => void,
): <T>(answer: Promise<T>, timeoutMs: number) => Promise<T> {
  const waiting = new Set<{ readonly dueAt: number; readonly timeoutMs: number; readonly reject: (reason: unknown) => void }>();
  let timer: NodeJS.Timeout | undefined;
  let ringsAt = Number.POSITIVE_INFINITY;

  function arm(dueAt: number): void {
    if (dueAt >= ringsAt) return;
    clearTimeout(timer);
    ringsAt = dueAt;
    // What waits keeps the process alive itself.
    timer = setTimeout(ring, Math.max(0, Math.ceil(dueAt - performance.now()))).unref();
  }

  function ring(): void {
    ringsAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    for (const { dueAt, timeoutMs } of waiting) {
      if (dueAt > now) arm(dueAt);
      else if (!loss.signal.aborted) {
        // The driver would leave the statement running, and everything behind it waiting.
        loss.abort(new Error(`no answer within ${Math.round(timeoutMs)} ms`));
        client.destroy();
      }
    }
  }

  loss.signal.addEventListener(
    'abort',
    () => {
      clearTimeout(timer);
      for (const { reject } of waiting) reject(loss.signal.reason);
    },
    { once: true },
  );
  return (answer, timeoutMs) =>
    new Promise((resolve, reject) => {
      if (loss.signal.aborted) {
        // Nobody hears how it ends.
        answer.catch(() => {});
        return reject(loss.signal.reason as Error);
      }
      const one = { dueAt: performance.now() + timeoutMs, timeoutMs, reject };
      waiting.add(one);
      arm(one.dueAt);
      answer.then(
        (value) => {
          waiting.delete(one);
          onAnswer();
          resolve(value);
        },
        (error: unknown) => {
          waiting.delete(one);
          reject(error);
        },
      );
    });
}

/** Errors of what was never sent. */
const neverSent = new WeakSet<object>();

/** Why a session ended, as an error of what was to be sent on it. */
function unsent(reason: Error): Error {
  const error = new Error(reason.message, { cause: reason });
  neverSent.add(error);
  return error;
}

/** What failed so may have been done: it was sent, as far as is known. */
export function wasSent(error: unknown): boolean {
  return !neverSent.has(error as object);
}

/** For values of settings alone, which are ours or a host's name. */
function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/**
 * Ends the backends of sessions that were lost, in case a statement is still on its way to one: once each, however many tries were
 * sent on it. Afterwards nothing of theirs can arrive any more.
 */
export function createEnder(ask: (statement: Statement) => Promise<unknown>): (lost: Session | undefined) => Promise<boolean> {
  const ended = new WeakMap<Session, Promise<boolean>>();
  return async (lost) => {
    // A pooler's backend may serve another client by now.
    if (lost === undefined || lost.proxied) return false;
    let ending = ended.get(lost);
    if (ending === undefined) {
      const { pid, since, version } = lost;
      const text = `SELECT pg_terminate_backend(pid${version < WAITS ? '' : `, ${END_MS}`})::text AS over FROM pg_stat_activity
        WHERE pid = $1 AND ${STARTED} = $2`;
      ending = ask({ text, values: [pid, since] }).then(() => version >= WAITS);
      ended.set(lost, ending);
      ending.catch(() => ended.delete(lost));
    }
    return ending;
  };
}

/** From this version on the end of a backend can be waited for, in ms. */
const WAITS = 140_000;
const END_MS = 1_000;
