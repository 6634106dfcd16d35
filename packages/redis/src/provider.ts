import {
  UnsupportedError,
  type AcquireRequest,
  type AcquireResult,
  type Finding,
  type ForgetTerms,
  type Grant,
  type Guarantees,
  type JobRecord,
  type LockProvider,
  type NamedPause,
  type OccurrenceState,
  type Outcome,
  type Pause,
  type PauseTerms,
  type RunRecord,
} from '@solorun/core';
import { bindVerbs, Connector, createWatch, delay, Questions, settlingRefusal, type Watch } from '@solorun/core/server';
import { Batches } from './batches.ts';
import { connect } from './client.ts';
import { examine } from './examine.ts';
import { guaranteesOf } from './guarantees.ts';
import { openLink, type Link } from './link.ts';
import { checkOptions, keyPrefixOf, type ConnectionOptions, type RedisOptions } from './options.ts';
import { markOf } from './record.ts';
import { Records } from './records.ts';
import { orUndefined } from './replies.ts';
import * as scripts from './scripts.ts';
import { createWakening, type Wakening } from './wakening.ts';

const KIND = 'redis';
const CONNECT_MS = 5_000;
/** Without any sign of life for so long a connection is given up, in ms: renewals wait behind what was asked before. */
const CALL_MS = 5_000;
const SHORTEST_CALL_MS = 500;
/** Polling interval of waiters that also get notifications, in case one is lost (ms). The core polls by itself when a lease ends. */
const LISTENING_MS = 4_000;
/** Polling interval of waiters without notifications (ms). */
const POLL_MS = 300;
/**
 * Locks on Redis: leases by the server's clock, with occurrences, fences and records in the same hash, one script per question. A
 * holder that dies or is paused or cut off is followed when its lease ends.
 *
 * Redis answers before its data are safe. `explain()` says what a crash or a fail-over can lose. A server that has just begun to serve
 * grants nothing for the length of a lease, so that no lost lease is granted twice.
 *
 * @throws OptionError
 * @example
 * const solo = createSolo({ provider: redis({ url: process.env.REDIS_URL }) });
 */
export function redis(options: RedisOptions): LockProvider {
  checkOptions(options);
  return bindVerbs(new RedisProvider(options));
}

class RedisProvider implements LockProvider {
  readonly kind: string = KIND;
  readonly forgetsSignals = true;
  /** The beginning of all keys and channels. */
  readonly #base: string;
  readonly #settleMs: number | undefined;
  readonly #connection: ConnectionOptions;
  readonly #connector: Connector<Link>;
  readonly #questions: Questions;
  readonly #batches: Batches;
  readonly #records: Records;
  readonly #wakening: Wakening;
  readonly #watch: Watch;
  /** So that half of the shortest lease is left for another connection, in ms. */
  #callMs = CALL_MS;
  /** False for a role that may not subscribe. */
  #listens = true;
  /** The newest connection, also when it has ended. */
  #newest: Link | undefined;
  /** The newest connection on which something was refused since its server may have forgotten leases. */
  #unsettled: Link | undefined;

  constructor(options: RedisOptions) {
    const { prefix = 'solorun', settleMs, allowEviction = false } = options;
    this.#base = `${keyPrefixOf(options)}${prefix}:`;
    this.#settleMs = settleMs;
    this.#connection = options;
    const terms = { kind: KIND, connection: options, observedKey: `${this.#base}observed`, settles: settleMs !== 0, allowEviction };
    this.#connector = new Connector<Link>(
      () => openLink({ ...terms, timeoutMs: CONNECT_MS }),
      (link) => link.end(),
    );
    const asking = { callMs: () => this.#callMs, lockKey: (name: string) => this.#lockKey(name) };
    this.#batches = new Batches({ ...asking, connector: this.#connector, open: () => this.#open() });
    this.#records = new Records({ ...asking, batches: this.#batches, open: (signal) => this.#open(signal) });
    this.#questions = new Questions({
      release: (name, owner) => this.#batches.undoing.ask({ name, owner, result: 'abandoned', error: '' }),
      mayHaveRun,
    });
    this.#wakening = createWakening(
      () => connect(options, CONNECT_MS),
      () => this.#callMs,
      (channel) => this.#watch.notified(channel),
      () => this.#watch.wakeAll(),
    );
    this.#watch = createWatch({
      everyMs: () => (this.#listens ? LISTENING_MS : POLL_MS),
      look: (waiting) => this.#lookAll(waiting),
    });
  }

  get guarantees(): Guarantees {
    return guaranteesOf(this.#newest, this.#listens, this.#settleMs);
  }

  tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    const link = this.#connector.current;
    const { leaseMs } = request;
    // The usual path is kept short: each promise more costs a serial lock some µs.
    const isUsual =
      link !== undefined && !this.#questions.isClosed && leaseMs !== null && leaseMs >= this.#callMs * 2 && !signal.aborted;
    if (!isUsual || link.settling.provedMs < (this.#settleMs ?? leaseMs)) return this.#tryCarefully(request, signal);
    const doubt = this.#questions.doubt(request.name, signal);
    return doubt === undefined ? this.#tryNow(request, signal) : this.#tryCarefully(request, signal, doubt);
  }

  async #tryCarefully(request: AcquireRequest, signal: AbortSignal, known?: Promise<void>): Promise<AcquireResult> {
    const { name, leaseMs } = request;
    this.#questions.checkOpen(signal);
    if (leaseMs === null) {
      throw new UnsupportedError(`${KIND} cannot hold a lease without an end: nothing would tell that its holder is gone.`);
    }
    const doubt = known ?? this.#questions.doubt(name, signal);
    if (doubt !== undefined) await doubt;
    this.#callMs = Math.min(this.#callMs, Math.max(SHORTEST_CALL_MS, leaseMs / 2));
    const link = this.#connector.current ?? (await this.#open(signal));
    return (
      this.#refuseUnsettled(link, request) ??
      this.#questions.answerSoon(request, this.#batches.acquiring.ask(request, signal), isGrant, signal)
    );
  }

  #tryNow(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    return this.#questions.answer(request, this.#batches.acquiring.ask(request, signal), isGrant, signal);
  }

  renew({ name, owner }: Grant, signal: AbortSignal): Promise<boolean> {
    return this.#batches.renewing.ask({ name, owner }, signal);
  }

  release({ name, owner }: Grant, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const error = outcome.result === 'failed' ? outcome.error : '';
    return this.#questions.track(this.#batches.releasing.ask({ name, owner, result: outcome.result, error }, signal));
  }

  async untilFree({ name, leaseMs }: AcquireRequest, signal: AbortSignal): Promise<void> {
    this.#questions.checkOpen();
    const settlesInMs = (await this.#open(signal)).settling.leftMs(this.#settleMs ?? leaseMs ?? 0);
    if (settlesInMs > 0) await delay(settlesInMs, signal);
    if (!signal.aborted) await this.#watch.until(name, this.#lockKey(name), signal);
  }

  inspect(name: string, signal?: AbortSignal): Promise<JobRecord | undefined> {
    return this.#records.inspect(name, signal);
  }

  list(prefix = '', signal?: AbortSignal): AsyncGenerator<JobRecord> {
    return this.#records.list(prefix, signal);
  }

  pause(name: string, terms: PauseTerms, signal: AbortSignal): Promise<Pause> {
    return this.#questions.track(this.#records.pause(name, terms, signal));
  }

  resume(name: string, signal: AbortSignal): Promise<boolean> {
    return this.#questions.track(this.#records.resume(name, signal));
  }

  pauses(prefix = '', signal?: AbortSignal): AsyncGenerator<NamedPause> {
    return this.#records.pauses(prefix, signal);
  }

  runs(name: string, limit: number, signal?: AbortSignal): Promise<readonly RunRecord[]> {
    return this.#records.runs(name, limit, signal);
  }

  reopen(name: string, signal: AbortSignal): Promise<OccurrenceState | undefined> {
    return this.#questions.track(this.#records.reopen(name, signal));
  }

  forget(name: string, terms: ForgetTerms, signal: AbortSignal): Promise<boolean> {
    return this.#questions.track(this.#records.forget(name, terms, signal));
  }

  examine(signal?: AbortSignal): Promise<readonly Finding[]> {
    return examine(this.#connection, signal);
  }

  close(): Promise<void> {
    return this.#questions.close(async (limit) => {
      // The next process, which may be as short-lived, need not observe again what this one has observed.
      const link = this.#connector.current;
      if (link !== undefined && link === this.#unsettled) await Promise.race([link.settling.prove(), limit]);
      await Promise.all([this.#wakening.close(), this.#connector.close()]);
    });
  }

  #lockKey(name: string): string {
    return `${this.#base}lock:${name}`;
  }

  async #open(signal?: AbortSignal): Promise<Link> {
    this.#newest = this.#connector.current ?? (await this.#connector.get(signal));
    return this.#newest;
  }

  /** Which of the names are free. Listens for the release of the others. */
  async #lookAll(waiting: readonly { readonly name: string; readonly key: string }[]): Promise<readonly string[]> {
    const keys = waiting.map(({ key }) => key);
    await this.#listenFor(keys);
    // A name whose node is away is not free.
    const replies = await Promise.all((await this.#batches.ask(scripts.look, keys, [], 0)).map(orUndefined));
    return waiting.filter(({ name }, index) => this.#isFree(name, replies[index])).map(({ name }) => name);
  }

  async #listenFor(channels: readonly string[]): Promise<void> {
    try {
      await this.#wakening.listenFor(channels);
      this.#listens = true;
    } catch (error) {
      // A role that may not subscribe polls more often; any other trouble is reported.
      if (!(error as Error).message.startsWith('NOPERM')) throw error;
      this.#listens = false;
    }
  }

  #isFree(name: string, reply: unknown): boolean {
    if (!Array.isArray(reply)) return reply === 1;
    const [owner, until, leaseMs] = reply as string[];
    return this.#batches.isOver(name, { mark: markOf(owner!, until!), leaseMs: Number(leaseMs) });
  }

  /** Refuses a name that another process may still hold by a lease that this server has forgotten. Undefined: there is none. */
  #refuseUnsettled(link: Link, request: AcquireRequest): AcquireResult | undefined {
    const askedMs = this.#settleMs ?? request.leaseMs ?? 0;
    const settlesInMs = link.settling.leftMs(askedMs);
    if (settlesInMs === 0) {
      if (askedMs > link.settling.provedMs) void link.settling.prove();
      return undefined;
    }
    if (this.#unsettled !== link) {
      this.#unsettled = link;
      warnOfSettling(settlesInMs);
    }
    return settlingRefusal(settlesInMs, request);
  }
}

const isGrant = ({ acquired }: AcquireResult): boolean => acquired;

/** Whether a script that failed may have done its work: not if the server says why it did not. */
function mayHaveRun(error: unknown): boolean {
  const { answered, sent } = error as { answered?: boolean; sent?: boolean };
  return answered !== true && sent !== false;
}

function warnOfSettling(settlesInMs: number): void {
  process.emitWarning(
    'Redis has just begun to serve here, as far as anybody has observed, and may not know of leases that are still trusted: if this ' +
      `process goes on, locks are granted again in ${Math.ceil(settlesInMs / 1_000)} s.`,
    { code: 'SOLORUN_SETTLING' },
  );
}
