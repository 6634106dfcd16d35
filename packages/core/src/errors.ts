import { inspect } from 'node:util';
import type { Finding } from './finding.ts';
import { plain } from './plain.ts';
import type { Holder, Identity, LockProvider, Pause } from './provider.ts';

/**
 * Every error of ours: a stable `code`, the nouns as fields, the cause kept.
 * Messages name the lock, what was attempted and the remedy; they never hold a connection string.
 */
export class SolorunError extends Error {
  /** Stable identifier, for example `SOLORUN_BUSY`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/** An option or a name that cannot work; thrown before anything is asked of a provider. */
export class OptionError extends SolorunError {
  constructor(message: string) {
    super('SOLORUN_OPTION', message);
  }
}

/** The provider declared that it cannot do what was asked (for example occurrences on a plain session lock). */
export class UnsupportedError extends SolorunError {
  constructor(message: string) {
    super('SOLORUN_UNSUPPORTED', message);
  }
}

const SETTLING = 'its provider has just come back, and grants nothing until leases that it may have forgotten are over';

/** Another holder has the lock and the policy is `throw`. */
export class LockBusyError extends SolorunError {
  readonly lock: string;
  readonly holder: Holder | undefined;
  /** No holder is known: the provider has just come back, and grants nothing until leases that it may have forgotten are over. */
  readonly settling: boolean;

  constructor(lock: string, holder: Holder | undefined, heldForMs: number | undefined, settling = false, detail?: string) {
    const why = settling ? SETTLING : (detail ?? `held by ${describeHolder(holder, heldForMs)}`);
    super(
      'SOLORUN_BUSY',
      `Cannot acquire ${quote(lock)}: ${why}. ` +
        `Wait for it (onBusy: 'wait'), skip this run (onBusy: 'skip'), or look with inspect(${quote(lock)}).`,
    );
    this.lock = lock;
    this.holder = holder;
    this.settling = settling;
  }
}

/** The lock did not come free within `waitMs`. */
export class LockTimeoutError extends SolorunError {
  readonly lock: string;
  readonly holder: Holder | undefined;
  readonly waitedMs: number;
  /** As `LockBusyError.settling`. */
  readonly settling: boolean;

  /** @param options.detail what is in the way, in words, where that is no holder */
  constructor(
    lock: string,
    holder: Holder | undefined,
    heldForMs: number | undefined,
    waitedMs: number,
    options: ErrorOptions & { readonly detail?: string | undefined; readonly settling?: boolean | undefined } = {},
  ) {
    const { settling = false, detail = `held by ${describeHolder(holder, heldForMs)}`, ...rest } = options;
    super(
      'SOLORUN_TIMEOUT',
      `Cannot acquire ${quote(lock)}: ${settling ? SETTLING : detail}, gave up after ${Math.round(waitedMs)} ms.`,
      rest,
    );
    this.lock = lock;
    this.holder = holder;
    this.waitedMs = waitedMs;
    this.settling = settling;
  }
}

/** An operator has paused the name, and the caller has no other way to be told. */
export class LockPausedError extends SolorunError {
  readonly lock: string;
  /** When the pause ends by itself, by the provider's clock. */
  readonly until: Date;
  /** Who paused it. */
  readonly by: string;
  readonly note: string | undefined;

  constructor(lock: string, { until, by, note }: Pause) {
    super(
      'SOLORUN_PAUSED',
      `Cannot acquire ${quote(lock)}: ${quote(by)} has paused it until ${until.toISOString()}${note === undefined ? '' : ` (${quote(note)})`}. ` +
        `End the pause with resume(${quote(lock)}), or go on all the same with ignorePause: true.`,
    );
    this.lock = lock;
    this.until = until;
    this.by = by;
    this.note = note;
  }
}

/**
 * Why a lease is no longer to be trusted.
 * - `expired`: no renewal was confirmed in time, by our own monotonic clock (a pause, a stalled event loop, a cut cable);
 * - `taken`: the provider answered that the name is not ours any more;
 * - `session`: the session or connection that carried the lease ended;
 * - `released`: the lease was released and is used all the same.
 */
export type LossReason = 'expired' | 'taken' | 'session' | 'released';

const lossWords: Record<LossReason, string> = {
  expired:
    'its lease could not be confirmed in time (a pause, a stalled event loop or an unreachable provider), so another replica may hold it now',
  taken: 'the provider says that another replica holds it, or that an operator released it',
  session: 'the session that carried it ended',
  released: 'it was released already',
};

/** The lease can no longer be trusted: stop touching what it protects. Also the `reason` of `lease.signal`. */
export class LeaseLostError extends SolorunError {
  readonly lock: string;
  readonly fence: bigint;
  readonly reason: LossReason;
  /** The handler's return value, if it finished all the same. Its effects may overlap another replica's. */
  readonly result: unknown;

  constructor(lock: string, fence: bigint, reason: LossReason, options?: ErrorOptions & { result?: unknown }) {
    super('SOLORUN_LEASE_LOST', `Lost ${quote(lock)} (fence ${fence}): ${lossWords[reason]}.`, options);
    this.lock = lock;
    this.fence = fence;
    this.reason = reason;
    this.result = options?.result;
  }
}

/** The provider could not be asked, or its answer came too late to be trusted. The handler did not run. */
export class ProviderError extends SolorunError {
  readonly provider: string;
  readonly operation: string;

  constructor(provider: string, operation: string, detail: string, options?: ErrorOptions) {
    super('SOLORUN_PROVIDER', `${provider}: cannot ${operation}: ${redact(detail)}`, options);
    this.provider = provider;
    this.operation = operation;
  }
}

/** The provider cannot be reached, or is not safe to keep locks. The message has the first finding that says so. */
export class NotReadyError extends SolorunError {
  readonly provider: string;
  /** All that was found, also what is in order. */
  readonly findings: readonly Finding[];

  constructor(provider: string, { check, state, says }: Finding, findings: readonly Finding[], options?: ErrorOptions) {
    const what = check === provider ? '' : `${check}: `;
    // As `unreachable()` words it.
    const isRefused = says.startsWith('lets nobody in');
    const remedy = state === 'unreachable' && !isRefused ? '; start it, or correct its address: nothing runs until it answers' : '';
    super('SOLORUN_NOT_READY', plain(redact(`${provider} is not ready: ${what}${says}${remedy}.`)), options);
    this.provider = provider;
    this.findings = findings;
  }
}

/** An error that a provider threw, as one of ours. */
export function asProviderError(provider: LockProvider, error: unknown, operation: string): Error {
  if (error instanceof SolorunError) return error;
  return new ProviderError(provider.kind, operation, messageOf(error), { cause: error });
}

/** A run went on for longer than `maxRunMs`; the `reason` of its signal. */
export class RunTimeoutError extends SolorunError {
  readonly lock: string;
  readonly maxRunMs: number;

  constructor(lock: string, maxRunMs: number) {
    super('SOLORUN_RUN_TIMEOUT', `The run of ${quote(lock)} was stopped: it took longer than maxRunMs = ${maxRunMs}.`);
    this.lock = lock;
    this.maxRunMs = maxRunMs;
  }
}

/** The solo is closed (or closing): nothing new is claimed. Also the `reason` of the signals of runs in progress. */
export class ClosedError extends SolorunError {
  constructor(message = 'This solo is closed: it claims nothing any more.') {
    super('SOLORUN_CLOSED', message);
  }
}

/** `close()` ran out of `graceMs` while handlers were still running; their leases are kept, not released. */
export class CloseTimeoutError extends SolorunError {
  /** Names of the locks whose handlers still run. */
  readonly unfinished: readonly string[];

  constructor(graceMs: number, unfinished: readonly string[]) {
    super(
      'SOLORUN_CLOSE_TIMEOUT',
      `Still running after ${graceMs} ms: ${unfinished.map(quote).join(', ')}. ` +
        'Their leases are kept while they run. Have the handlers heed their signal, or end the process.',
    );
    this.unfinished = unfinished;
  }
}

/**
 * A name as it may be shown in a message or a log line: quoted, on one line, shortened to 80 characters. For adapters, whose
 * messages then name locks as the core's do.
 *
 * @example
 * quote('nightly-report'); // "nightly-report", with its quotes
 */
export function quote(name: string): string {
  const points = [...name];
  return JSON.stringify(points.length > 80 ? `${points.slice(0, 80).join('')}…` : name);
}

export function describeHolder(holder: Holder | undefined, heldForMs: number | undefined): string {
  const who = holder === undefined ? 'an unknown holder' : describeProcess(holder);
  return heldForMs === undefined ? who : `${who} for ${describeMs(heldForMs)}`;
}

export function describeProcess({ host, pid, label }: Identity): string {
  return `${label === undefined ? '' : `${label}@`}${host} (pid ${pid})`;
}

export function describeMs(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

/**
 * The message of a thrown value. A handler may throw anything, even a value that cannot be made a string, and a message may be
 * anything too. For adapters, which report what their users' handlers threw.
 *
 * @example
 * messageOf(new Error('no space left')); // no space left
 * messageOf({ code: 28 }); // { code: 28 }
 */
export function messageOf(thrown: unknown): string {
  const message: unknown = thrown instanceof Error ? thrown.message : thrown;
  return typeof message === 'string' ? message : inspect(message, { depth: 1, customInspect: false });
}

/**
 * Masks credentials in text that other people wrote and that we keep or show: in URLs (`scheme://user:secret@host`), in words of
 * libpq and of environments (`PGPASSWORD=secret`, `api_key: "secret"`), and in HTTP headers (`Bearer secret`).
 */
export function redact(text: string): string {
  // Every length that may have to be tried again is bounded: a message of a megabyte must not take minutes.
  return text
    .replace(/\b([a-z][a-z0-9+.-]{0,30}:\/\/)(\S+)/giu, (_, scheme: string, rest: string) => scheme + withoutCredentials(rest))
    .replace(
      /((?:password|passwd|pwd|secret|token|credential|api[_-]?key|access[_-]?key)[\w-]{0,30}["']?\s{0,9}[:=]\s{0,9})("[^"]*"?|'[^']*'?|[^\s,;&"']+)/giu,
      '$1***',
    )
    .replace(/\b(bearer|basic)\s{1,9}[^\s,;"']+/giu, '$1 ***');
}

/**
 * Masks the credentials of a URL that comes without its scheme. A password may hold "@" and "/", although it should not; a path may
 * hold them, too, with no password before it.
 */
function withoutCredentials(rest: string): string {
  const authority = rest.split('/', 1)[0]!;
  const end = (authority.includes(':') ? rest : authority).lastIndexOf('@');
  return end === -1 ? rest : `***${rest.slice(end)}`;
}
