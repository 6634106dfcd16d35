import { setTimeout as sleep } from 'node:timers/promises';
import { Deadlines, Mutex, neverSent } from '@solorun/core/server';
import type { PostgresClient, Row, Statement } from './client.ts';

/** One connection of our own: one statement at a time, each bounded, and an end that is reported to all who use it. */
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

/** When a backend of `pg_stat_activity` began, in µs: no setting of a session changes how that is written. */
export const STARTED = '(extract(epoch FROM backend_start) * 1000000)::bigint::text';

interface Due {
  readonly at: number;
  readonly timeoutMs: number;
  readonly reject: (reason: unknown) => void;
}

/** The answers that a session waits for: each no longer than its time, which ends the session, and none longer than the session. */
export class Answers {
  sentAt: number = performance.now();
  answeredAt: number = this.sentAt;
  tookMs = 0;
  readonly #loss: AbortController;
  readonly #due: Deadlines<Due>;

  constructor(client: PostgresClient, loss: AbortController) {
    this.#loss = loss;
    this.#due = new Deadlines({
      dueAt: ({ at }) => at,
      expire({ timeoutMs }) {
        if (loss.signal.aborted) return;
        // The driver would leave the statement running, and everything behind it waiting.
        loss.abort(new Error(`no answer within ${Math.round(timeoutMs)} ms`));
        client.destroy();
      },
      // The client does, while it is asked.
      keepsAlive: () => false,
    });
    loss.signal.addEventListener(
      'abort',
      () => {
        for (const { reject } of this.#due.clear()) reject(loss.signal.reason);
      },
      { once: true },
    );
  }

  wait<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
    const { signal } = this.#loss;
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        // The caller learns the reason of the loss, and not how this ends.
        answer.catch(() => {});
        return reject(signal.reason as Error);
      }
      const due = { at: performance.now() + timeoutMs, timeoutMs, reject };
      this.#due.add(due);
      answer.then(
        (value) => {
          this.#due.delete(due);
          this.answeredAt = performance.now();
          this.tookMs = this.answeredAt - this.sentAt;
          resolve(value);
        },
        (error: unknown) => {
          this.#due.delete(due);
          reject(error);
        },
      );
    });
  }
}

export class OpenSession implements Session {
  readonly pid: number;
  readonly since: string;
  readonly version: number;
  readonly proxied: boolean;
  readonly direct: boolean;
  readonly lost: AbortSignal;
  readonly #client: PostgresClient;
  readonly #loss: AbortController;
  readonly #answers: Answers;
  readonly #mutex: Mutex;

  constructor(
    client: PostgresClient,
    loss: AbortController,
    answers: Answers,
    about: Pick<Session, 'pid' | 'since' | 'version' | 'proxied' | 'direct'>,
  ) {
    this.pid = about.pid;
    this.since = about.since;
    this.version = about.version;
    this.proxied = about.proxied;
    this.direct = about.direct;
    this.lost = loss.signal;
    this.#client = client;
    this.#loss = loss;
    this.#answers = answers;
    this.#mutex = new Mutex(() => client.keepAlive(false));
    client.keepAlive(false);
  }

  get busy(): boolean {
    return this.#mutex.isBusy;
  }

  get sentAt(): number {
    return this.#answers.sentAt;
  }

  get answeredAt(): number {
    return this.#answers.answeredAt;
  }

  get tookMs(): number {
    return this.#answers.tookMs;
  }

  query(statement: Statement, timeoutMs: number): Promise<readonly Row[]> {
    return this.inLine((query) => query(statement, timeoutMs));
  }

  inLine<T>(job: (query: Session['query']) => Promise<T>): Promise<T> {
    // A statement keeps the process alive; a lock that is merely held does not.
    if (!this.#mutex.isBusy) this.#client.keepAlive(true);
    return this.#mutex.run(() => (this.lost.aborted ? Promise.reject(this.#notSent()) : job(this.#send)));
  }

  onNotification(listener: (channel: string, payload: string) => void): void {
    this.#client.onNotification(listener);
  }

  destroy(reason: Error): void {
    if (!this.lost.aborted) this.#loss.abort(reason);
    this.#client.destroy();
  }

  async end(): Promise<void> {
    this.#client.keepAlive(true);
    if (!this.lost.aborted) this.#loss.abort(new Error('the session was closed'));
    // A pooler may hand the backend to another client, and not every pooler cleans it up before.
    const clean = this.proxied ? this.#client.query({ text: 'SELECT pg_advisory_unlock_all()::text' }) : undefined;
    const goodbye = Promise.resolve(clean).then(() => this.#client.end());
    await Promise.race([goodbye.catch(() => {}), sleep(1_000, undefined, { ref: false })]);
    this.#client.destroy();
  }

  readonly #send = (statement: Statement, timeoutMs: number): Promise<readonly Row[]> => {
    if (this.lost.aborted) return Promise.reject(this.#notSent());
    this.#answers.sentAt = performance.now();
    const { text, values } = statement;
    return this.#answers.wait(this.#client.query(this.direct ? statement : { text, ...(values && { values }) }), timeoutMs);
  };

  /** Why the session ended, as the error of a statement that was to be sent on it. */
  #notSent(): Error {
    const reason = this.lost.reason as Error;
    return neverSent(new Error(reason.message, { cause: reason }));
  }
}
