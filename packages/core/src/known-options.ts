import type { BackoffOptions } from './backoff.ts';
import type { CloseOnSignalsOptions } from './close-on-signals.ts';
import type { ElectOptions } from './elect.ts';
import { OptionError, quote } from './errors.ts';
import type { LogEventsOptions } from './log-events.ts';
import type { LeaseOptions, OccurrenceOptions, OutageOptions, RunOptions, SoloOptions, WatchOptions } from './options.ts';
import type { PingOptions } from './ping-url.ts';
import type { Schedule } from './provider.ts';
import type { SentryMonitorOptions } from './sentry-monitor.ts';
import type {
  AcquireOptions,
  ClaimOptions,
  CloseOptions,
  ForceReleaseOptions,
  ListOptions,
  PauseOptions,
  PruneOptions,
  ReadyOptions,
} from './solo.ts';

/** A longer name is no slip of a finger, in characters. */
const LONGEST_TYPO = 40;

/** The names of the options of one function. */
export interface KnownOptions {
  /** The function, as messages call it: `run()`. */
  readonly of: string;
  readonly names: ReadonlySet<string>;
  /** There may be others, of a package whose later versions have more: only a slip of one of these is refused. @default false */
  readonly open?: boolean;
}

/** Of every member of a union. */
type NameOf<Options> = Options extends unknown ? keyof Options : never;
/** The compiler refuses a table that lacks an option of the type, or has one more. */
type Table<Options> = Readonly<Record<NameOf<Options>, true>>;

function known<Options>(of: string, table: Table<Options>): KnownOptions {
  return { of, names: new Set(Object.keys(table)) };
}

const lease = { leaseMs: true, ignorePause: true, history: true, signal: true } satisfies Table<LeaseOptions>;
const outage = { onOutage: true, outageMs: true } satisfies Table<OutageOptions>;
const watch = { maxRunMs: true, graceMs: true, onStuck: true, onRun: true } satisfies Table<WatchOptions>;
const occurrence = {
  occurrence: true,
  attempts: true,
  maxEarlyMs: true,
  scheduleHash: true,
  schedule: true,
  nextDueAt: true,
  timesBetween: true,
} satisfies Table<OccurrenceOptions>;
const list = { prefix: true } satisfies Table<ListOptions>;

export const ofSolo: KnownOptions = known<SoloOptions>('createSolo()', {
  provider: true,
  namespace: true,
  leaseMs: true,
  marginMs: true,
  label: true,
  callTimeoutMs: true,
  retainMs: true,
  clock: true,
  onRun: true,
});
export const ofRun: KnownOptions = known<RunOptions>('run()', {
  ...lease,
  ...occurrence,
  ...outage,
  ...watch,
  onBusy: true,
  retry: true,
  waitMs: true,
});
export const ofRetry: KnownOptions = known<BackoffOptions>('retry', {
  retries: true,
  minMs: true,
  maxMs: true,
  factor: true,
  jitter: true,
});
export const ofSchedule: KnownOptions = known<Schedule>('schedule', { expression: true, timezone: true, everyMs: true });
export const ofTryAcquire: KnownOptions = known<LeaseOptions>('tryAcquire()', lease);
export const ofAcquire: KnownOptions = known<AcquireOptions>('acquire()', { ...lease, ...outage, waitMs: true });
export const ofClaim: KnownOptions = known<ClaimOptions>('claim()', { ...lease, ...occurrence });
export const ofElect: KnownOptions = known<ElectOptions>('elect()', { ...lease, onElected: true, onDeposed: true });
export const ofList: KnownOptions = known<ListOptions>('list()', list);
export const ofPauses: KnownOptions = known<ListOptions>('pauses()', list);
export const ofPause: KnownOptions = known<PauseOptions>('pause()', { untilMs: true, until: true, note: true, by: true });
export const ofPrune: KnownOptions = known<PruneOptions>('prune()', { ...list, olderThanMs: true, dryRun: true, onName: true });
export const ofForceRelease: KnownOptions = known<ForceReleaseOptions>('forceRelease()', { fence: true });
export const ofReady: KnownOptions = known<ReadyOptions>('ready()', { timeoutMs: true });
export const ofExplain: KnownOptions = known<Pick<LeaseOptions, 'leaseMs'>>('explain()', { leaseMs: true });
export const ofClose: KnownOptions = known<CloseOptions>('close()', { graceMs: true, keepProvider: true });
export const ofPing: KnownOptions = known<PingOptions>('pingUrl()', { method: true, start: true, fail: true });
export const ofSentry: KnownOptions = known<SentryMonitorOptions<unknown>>('sentryMonitor()', { slug: true, config: true });
export const ofLogEvents: KnownOptions = known<LogEventsOptions>('logEvents()', { level: true });
export const ofCloseOnSignals: KnownOptions = known<CloseOnSignalsOptions>('closeOnSignals()', {
  graceMs: true,
  signals: true,
  endProcess: true,
});

/**
 * Refuses an option that does not exist: `waitMS` would else be a wait that never was. One that is `undefined` is not given.
 *
 * @throws OptionError
 */
export function checkKnown(table: KnownOptions, options: unknown): void {
  if (typeof options !== 'object' || options === null) return;
  for (const name in options) {
    if (table.names.has(name)) continue;
    // A property that an old library has added to every object is no option.
    if (Object.hasOwn(options, name) && (options as Record<string, unknown>)[name] !== undefined) refuse(table, name);
  }
}

function refuse({ of, names, open = false }: KnownOptions, name: string): void {
  const near = nearest(name, names, open ? 1 : LONGEST_TYPO);
  if (open && near === undefined) return;
  const remedy = near === undefined ? `; there are ${[...names].join(', ')}.` : `; did you mean ${near}?`;
  throw new OptionError(`There is no option ${quote(name)} of ${of}${remedy}`);
}

/**
 * The name that was probably meant: a third of it may be wrong.
 *
 * @param most how many characters may be wrong, besides
 */
function nearest(written: string, names: Iterable<string>, most: number): string | undefined {
  if (written.length > LONGEST_TYPO) return undefined;
  let [best, least] = [undefined as string | undefined, Number.POSITIVE_INFINITY];
  for (const name of names) {
    const wrong = editDistance(written.toLowerCase(), name.toLowerCase());
    if (wrong < least && wrong <= Math.min(most, name.length / 3)) [best, least] = [name, wrong];
  }
  return best;
}

/** How many characters have to be changed, added, removed, or swapped with the next one, to make `b` of `a`. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const above = rows[i - 1]!;
      const changed = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = a[i - 2] === b[j - 1] && a[i - 1] === b[j - 2] ? (rows[i - 2]?.[j - 2] ?? changed) + 1 : changed;
      row.push(Math.min(changed, swapped, above[j]! + 1, row[j - 1]! + 1));
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
