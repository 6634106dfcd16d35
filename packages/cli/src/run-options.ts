import { OptionError, pingUrl, type BusyPolicy, type OutageOptions, type RunHook } from '@solorun/core';
import { parseDuration } from './duration.ts';
import { Ending, exits } from './exit.ts';
import type { Loudness } from './output.ts';
import type { Asked } from './program.ts';
import { cronSlot, intervalSlot, type Slot } from './schedule.ts';
import { parseStore, type Store } from './store.ts';

/** The fate of processes that the command leaves behind when it ends. */
type Leftovers = 'end' | 'wait' | 'leave';

/** A run, as it was settled from the command line. */
export interface RunSettings {
  readonly name: string;
  readonly command: readonly string[];
  readonly store: Store;
  readonly namespace: string | undefined;
  readonly label: string | undefined;
  readonly policy: BusyPolicy;
  readonly outage: OutageOptions;
  readonly leaseMs: number;
  readonly maxRunMs: number | undefined;
  /** Between SIGTERM and SIGKILL, in ms; less when the lock is lost and the lease leaves less. */
  readonly graceMs: number;
  readonly slot: Slot | undefined;
  readonly attempts: number | undefined;
  /** How old the scheduled time may be, in ms. */
  readonly withinMs: number | undefined;
  readonly ignorePause: boolean;
  readonly history: boolean;
  /** Reports the run to a monitor. */
  readonly onRun: RunHook | undefined;
  readonly onLost: 'kill' | 'warn';
  readonly leftovers: Leftovers;
  readonly busyExitCode: number;
  readonly loudness: Loudness;
}

/** No timer counts an interval, so it may be long: whole intervals are counted from 1970. */
const LONGEST_INTERVAL_MS = 3_650 * 86_400_000;

type Words = Readonly<Record<string, string | undefined>>;

/** Checks the words of `solorun run` before anything is opened. @throws Ending */
export async function settleRun(asked: Asked, command: readonly string[] | undefined, loudness: Loudness): Promise<RunSettings> {
  const words = asked.options as Words;
  if (asked.name !== undefined && words['name'] !== undefined) throw wrong('--name stands in the place of the name: give one');
  const name = asked.name ?? words['name'];
  if (name === undefined) throw wrong('run needs the name of a lock');
  if (command === undefined)
    throw wrong(`the command comes after two dashes: solorun run ${/^[\w.-]+$/.test(name) ? name : 'NAME'} -- command`);
  if (command.length === 0) throw wrong('there is no command after the two dashes');
  const time = (option: string, value: string | undefined): number | undefined =>
    value === undefined ? undefined : parseDuration(value, option);

  const slot = await slotOf(words);
  const attempts = count('--attempts', words['attempts'], 1);
  if (attempts !== undefined && slot === undefined) throw wrong('--attempts needs --once-per or --interval: attempts at what?');
  const withinMs = words['within'] === undefined ? undefined : parseDuration(words['within'], '--within', LONGEST_INTERVAL_MS);
  if (withinMs !== undefined && slot === undefined) throw wrong('--within needs --once-per or --interval: a scheduled time');
  const busyExitCode = count('--busy-exit-code', words['busyExitCode'], 0) ?? exits.busy.status;
  if (busyExitCode > 255) throw wrong('--busy-exit-code is at most 255');
  return {
    name,
    command,
    store: parseStore(words['store'], process.env),
    namespace: words['namespace'],
    label: words['label'],
    policy: policyOf(words, slot),
    outage: outageOf(words),
    leaseMs: parseDuration(words['lease']!, '--lease'),
    maxRunMs: time('--max-run', words['maxRun']),
    graceMs: parseDuration(words['grace']!, '--grace'),
    slot,
    attempts,
    withinMs,
    ignorePause: asked.options['ignorePause'] === true,
    history: asked.options['history'] === true,
    onRun: hookOf(words['ping']),
    onLost: words['onLost'] as 'kill' | 'warn',
    leftovers: words['leftovers'] as Leftovers,
    busyExitCode,
    loudness,
  };
}

async function slotOf(words: Words): Promise<Slot | undefined> {
  const { oncePer, interval, timezone } = words as { oncePer?: string; interval?: string; timezone?: string };
  if (oncePer !== undefined && interval !== undefined)
    throw wrong('--once-per and --interval are two ways to say one thing: give one');
  if (timezone !== undefined && oncePer === undefined) throw wrong('--timezone is for --once-per');
  const now = new Date();
  if (oncePer !== undefined) return cronSlot(oncePer, timezone, now);
  return interval === undefined ? undefined : intervalSlot(parseDuration(interval, '--interval', LONGEST_INTERVAL_MS), now);
}

function hookOf(url: string | undefined): RunHook | undefined {
  if (url === undefined) return undefined;
  try {
    return pingUrl(url);
  } catch (error) {
    if (error instanceof OptionError) throw wrong('--ping needs a URL that begins with http:// or https://');
    throw error;
  }
}

/** `--wait` and `--retries` say enough by themselves. */
function policyOf(words: Words, slot: Slot | undefined): BusyPolicy {
  const { wait, retries } = words as { wait?: string; retries?: string };
  const onBusy = words['onBusy'] ?? (wait !== undefined ? 'wait' : retries !== undefined ? 'retry' : 'skip');
  if (wait !== undefined && onBusy !== 'wait') throw wrong(`--wait goes with --on-busy wait, not with ${onBusy}`);
  if (retries !== undefined && onBusy !== 'retry') throw wrong(`--retries goes with --on-busy retry, not with ${onBusy}`);
  if (onBusy === 'wait') return { onBusy, waitMs: wait === undefined ? Number.POSITIVE_INFINITY : parseDuration(wait, '--wait') };
  if (onBusy === 'retry') return { onBusy, retry: { retries: count('--retries', retries, 0) ?? 5, minMs: 250 } };
  if (onBusy === 'standby' && slot === undefined) {
    throw wrong('--on-busy standby needs --once-per or --interval: an instant to stand by for. To queue for a lock use --wait');
  }
  return { onBusy: onBusy === 'fail' ? 'throw' : (onBusy as 'skip' | 'standby') };
}

/** `--outage` says enough by itself. */
function outageOf(words: Words): OutageOptions {
  const { onOutage, outage } = words as { onOutage?: 'fail' | 'retry'; outage?: string };
  if (outage !== undefined && onOutage === 'fail') throw wrong('--outage goes with --on-outage retry, not with fail');
  return { onOutage, outageMs: outage === undefined ? undefined : parseDuration(outage, '--outage') };
}

function count(option: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d{1,9}$/.test(text) || value < least)
    throw wrong(`${option} is a whole number from ${least}, not ${JSON.stringify(text)}`);
  return value;
}

function wrong(message: string): Ending {
  return new Ending('usage', `${message}.`);
}
