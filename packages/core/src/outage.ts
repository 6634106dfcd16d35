import { delay, linkAbort } from './abort.ts';
import { backoffDelay, settleBackoff } from './backoff.ts';
import type { Core } from './core.ts';
import { describeMs, messageOf, OptionError, ProviderError, quote, UnsupportedError } from './errors.ts';
import type { Terms } from './settle.ts';

/** Between tries of a provider that cannot be asked. */
const pauses = settleBackoff({ minMs: 100, maxMs: 5_000, retries: Number.POSITIVE_INFINITY });

/** One acquisition that rides out an outage. */
interface Rider {
  readonly at: number;
  giveWay(): void;
}

/** Acquisitions with an occurrence that ride out an outage, by the full name of their lock. */
export type Riders = Map<string, Set<Rider>>;

/** Whether this can pass by itself. A name or an option that the provider refuses will be refused again. */
export function isTransient(error: unknown): error is ProviderError {
  if (error instanceof OptionError || error instanceof UnsupportedError) return false;
  return error instanceof ProviderError;
}

/** The outage of one name. All its acquisitions share it, for waiters in the queue have not made a try of their own yet. */
interface Shared {
  acquisitions: number;
  /** When the first of the tries failed that have failed in a row. */
  since: number | undefined;
}

/** Of one solo. */
export interface Outages {
  /** By the full name. */
  readonly names: Map<string, Shared>;
  /** When a process warning last reported one. */
  warnedAt: number;
}

/** An outage that lasts longer is reported in a process warning, in ms. Without it, an endless wait would be a silent one. */
const SILENT_MS = 10_000;
/** For all names of a solo there is one warning in this time, in ms. */
const WARN_EVERY_MS = 60_000;

/** A later occurrence is asked for: acquisitions that still wait out an outage for an earlier one of the name give up. */
export function supersedeRiders({ riders }: Core, { fullName, occurrence }: Terms): void {
  const at = occurrence?.at.getTime();
  if (at === undefined) return;
  for (const rider of riders.get(fullName) ?? []) if (rider.at < at) rider.giveWay();
}

/** How one acquisition goes on while the provider cannot be asked. */
export class Outage {
  readonly #core: Core;
  readonly #terms: Terms;
  readonly #longestMs: number;
  readonly #begun = performance.now();
  readonly #shared: Shared;
  #failures = 0;
  #rider: Rider | undefined;
  readonly #superseded = new AbortController();

  /** @param longestMs how long an outage may last; 0: the first failure is the end */
  constructor(core: Core, terms: Terms, longestMs: number) {
    this.#core = core;
    this.#terms = terms;
    this.#longestMs = longestMs;
    this.#shared = core.outages.names.get(terms.fullName) ?? { acquisitions: 0, since: undefined };
    this.#shared.acquisitions += 1;
    core.outages.names.set(terms.fullName, this.#shared);
  }

  /**
   * A try has failed. Resolves with its error when another one may be made, or `signal` has aborted.
   *
   * @throws the error, if it cannot pass, or the outage has lasted for too long, or a later occurrence is due
   */
  async ride(error: unknown, signal: AbortSignal): Promise<ProviderError> {
    if (!isTransient(error) || this.#longestMs === 0) throw error;
    const now = performance.now();
    this.#shared.since ??= now;
    const outMs = now - Math.max(this.#shared.since, this.#begun);
    const leftMs = this.#longestMs - outMs;
    if (leftMs <= 0) throw error;
    const { name, occurrence } = this.#terms;
    this.#core.events.emit('unconfirmed', { name, provider: this.#core.settings.provider.kind, operation: 'acquire', error });
    if (outMs >= SILENT_MS) this.#warn(error, outMs);
    if (occurrence !== undefined) this.#register(occurrence.at.getTime());
    this.#failures += 1;
    const pause = new AbortController();
    const unlink = [linkAbort(signal, pause), linkAbort(this.#superseded.signal, pause)];
    await delay(Math.min(leftMs, backoffDelay(pauses, this.#failures)), pause.signal);
    for (const end of unlink) end();
    if (!this.#superseded.signal.aborted || signal.aborted) return error;
    const detail = `${messageOf(error.cause ?? error)}, and a later occurrence is due by now`;
    throw new ProviderError(this.#core.settings.provider.kind, `acquire ${quote(name)}`, detail, { cause: error });
  }

  /** The provider has answered. */
  over(): void {
    this.#shared.since = undefined;
    this.#failures = 0;
    this.#unregister();
  }

  /** The acquisition is over, however it ended. */
  end(): void {
    this.#unregister();
    this.#shared.acquisitions -= 1;
    if (this.#shared.acquisitions === 0) this.#core.outages.names.delete(this.#terms.fullName);
  }

  #warn(error: ProviderError, outMs: number): void {
    const { outages } = this.#core;
    const now = performance.now();
    if (now < outages.warnedAt + WARN_EVERY_MS) return;
    outages.warnedAt = now;
    const until = this.#longestMs === Number.POSITIVE_INFINITY ? 'without end' : `for ${describeMs(this.#longestMs - outMs)} more`;
    process.emitWarning(`${error.message}. It is asked again, ${until} (onOutage, outageMs).`, { code: 'SOLORUN_OUTAGE' });
  }

  #register(at: number): void {
    if (this.#rider !== undefined) return;
    this.#rider = { at, giveWay: () => this.#superseded.abort() };
    const { riders } = this.#core;
    const set = riders.get(this.#terms.fullName) ?? new Set();
    riders.set(this.#terms.fullName, set.add(this.#rider));
  }

  #unregister(): void {
    if (this.#rider === undefined) return;
    const { riders } = this.#core;
    const set = riders.get(this.#terms.fullName);
    set?.delete(this.#rider);
    if (set?.size === 0) riders.delete(this.#terms.fullName);
    this.#rider = undefined;
  }
}
