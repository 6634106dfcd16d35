import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import {
  createSolo,
  LeaseLostError,
  LockBusyError,
  LockTimeoutError,
  messageOf,
  type BusyPolicy,
  type Holder,
  type OutageOptions,
  type RunContext,
  type RunResult,
  type Skipped,
  type Solo,
} from '@solorun/core';
import { startCommand, type Command } from './command.ts';
import { duration } from './duration.ts';
import { checkExecutable } from './executable.ts';
import { exits } from './exit.ts';
import { startLifeline } from './lifeline.ts';
import type { Loudness, Voice } from './output.ts';
import type { Slot } from './schedule.ts';
import { holderOf, named, plain } from './show.ts';
import { takeSignals, type Signals } from './signals.ts';
import type { Store } from './store.ts';
import { showWaiting } from './waiting.ts';

/** What happens to processes that the command leaves behind when it ends. */
export type Leftovers = 'end' | 'wait' | 'leave';

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
  readonly onLost: 'kill' | 'warn';
  readonly leftovers: Leftovers;
  readonly busyExitCode: number;
  readonly loudness: Loudness;
}

/** A store that settles for longer is not waited for by a run that skips, in ms: as long as the default of --lease. */
const SETTLING_PATIENCE_MS = 60_000;
/** Added to the instant until which the store grants nothing, so that the next try does not come a moment too early, in ms. */
const AGAIN_MS = 20;

/** The command ended by itself, and not well: what the record says of it. */
class CommandFailed extends Error {}

/** Runs the command while its lock is held. Resolves to the exit status. @throws what `tell` knows */
export async function run(settings: RunSettings, voice: Voice): Promise<number> {
  const { name, store, slot, policy } = settings;
  checkExecutable(settings.command[0] ?? '', process.env);
  const signals = takeSignals();
  const provider = await store.open({ onWarning: voice.note });
  const solo = createSolo({
    provider,
    leaseMs: settings.leaseMs,
    marginMs: marginOf(settings),
    ...(settings.namespace === undefined ? {} : { namespace: settings.namespace }),
    ...(settings.label === undefined ? {} : { label: settings.label }),
  });
  voice.detail(`store ${store.shown}${slot === undefined ? '' : `, occurrence ${slot.at.toISOString()}`}`);
  const stopWaiting = showWaiting(solo, name, settings.loudness, voice);
  tellEvents(solo, voice);
  let released = false;
  solo.on('released', () => (released = true));
  const tellUnlessReleased = (): void => {
    if (!released) voice.error(`the store could not be told that ${named(name)} is over; it comes free when its lease ends`);
  };
  let lost: LeaseLostError | undefined;
  solo.on('lost', ({ error }) => (lost = error));

  let status: number | undefined;
  try {
    const runOnce = (): Promise<RunResult<void>> =>
      solo.run(
        name,
        async (context) => {
          stopWaiting();
          status = await underLock(context, settings, signals, voice);
          if (status !== 0) throw new CommandFailed(`exit status ${status}`);
        },
        {
          ...policy,
          ...settings.outage,
          ...(slot === undefined ? {} : { occurrence: slot.at, scheduleHash: slot.scheduleHash, attempts: settings.attempts }),
          signal: signals.interrupted,
        },
      );
    const result = await onceSettled(runOnce, settings, signals, voice);
    stopWaiting();
    if (result.status === 'skipped') {
      voice.note(skipWords(settings, result));
      return settings.busyExitCode;
    }
    tellUnlessReleased();
    return 0;
  } catch (error) {
    stopWaiting();
    if (lost !== undefined && status !== undefined) {
      // Told when it happened.
      return settings.onLost === 'warn' && status !== 0 ? status : exits.lost.status;
    }
    if (error instanceof CommandFailed) {
      tellUnlessReleased();
      return status!;
    }
    if (error instanceof LockBusyError || error instanceof LockTimeoutError) {
      voice.error(busyWords(settings, error));
      return settings.busyExitCode;
    }
    throw error;
  } finally {
    await closeQuietly(solo, voice);
  }
}

/**
 * A store that has just come back and grants nothing yet is held by no holder, so there is nothing to skip for: a run that would be skipped
 * waits for that instead, unless it takes long. Processes that live for a moment would be refused one after the other, each on its own.
 */
async function onceSettled<T>(
  runOnce: () => Promise<RunResult<T>>,
  { name, policy }: RunSettings,
  { interrupted }: Signals,
  voice: Voice,
): Promise<RunResult<T>> {
  const patientUntil = Date.now() + SETTLING_PATIENCE_MS;
  for (;;) {
    const running = runOnce();
    // Node.js shows a warning of the provider one turn later. It explains the result, so it comes first.
    await Promise.allSettled([running]);
    await nextTurn();
    const result = await running;
    if (result.status === 'ran' || result.settling !== true || policy.onBusy !== 'skip') return result;
    const { retryAt } = result;
    if (retryAt === undefined || retryAt.getTime() > patientUntil) return result;
    voice.note(
      `${named(name)} waits for the store, which has just come back: ${duration(Math.max(0, retryAt.getTime() - Date.now()))}`,
    );
    try {
      await sleep(retryAt.getTime() - Date.now() + AGAIN_MS, undefined, { signal: interrupted });
    } catch (error) {
      interrupted.throwIfAborted();
      throw error;
    }
  }
}

/**
 * How much earlier than the store we stop trusting the lease: the grace is in it, so that a command which is asked to end because the
 * store cannot be reached, or because we were stopped, is gone before somebody else can start.
 */
function marginOf(settings: RunSettings): number {
  return lostGraceOf(settings) + slackMs(settings.leaseMs);
}

/** The grace when the lock is lost. A longer one does not fit into the lease: somebody else could start while the command goes on. */
function lostGraceOf({ leaseMs, graceMs }: RunSettings): number {
  return Math.min(graceMs, leaseMs * 0.45 - slackMs(leaseMs));
}

/** For clocks whose rates differ, for the warden to come second, and for a busy machine. */
function slackMs(leaseMs: number): number {
  return Math.max(leaseMs / 20, Math.min(500, leaseMs / 8));
}

/** How much later than we the warden acts: a command that is asked to end twice may take that for an order to drop everything. */
function secondMs(leaseMs: number): number {
  return slackMs(leaseMs) / 4;
}

/** From the start of the command to its end, and that of all it started. Resolves to its exit status. */
async function underLock(context: RunContext, settings: RunSettings, signals: Signals, voice: Voice): Promise<number> {
  const { onLost, leaseMs } = settings;
  const nonce = randomUUID();
  const lifeline = startLifeline({
    nonce,
    lostGraceMs: lostGraceOf(settings),
    onLost,
    onBroken: () =>
      voice.error(
        'the warden ended: should solorun be stopped or killed now, what the command started may run on without the lock',
      ),
  });
  // Before there is a command: we may be stopped in the very moment in which it starts.
  const beat = (): void => lifeline.trusted(context.remainingMs() + secondMs(leaseMs));
  beat();
  let command: Command;
  try {
    command = startCommand({ command: settings.command, env: environment(context, settings.name), nonce });
    lifeline.watches(command.tree);
    signals.handTo(command);
  } catch (error) {
    lifeline.done();
    throw error;
  }
  const beats = setInterval(beat, Math.min(1_000, leaseMs / 10));
  const ending = endInTime(command, context.signal, settings, {
    voice,
    onEnding(graceMs) {
      clearInterval(beats);
      lifeline.ending(graceMs);
    },
  });
  try {
    const status = await command.ended;
    lifeline.watches(command.tree);
    await ending.stopped();
    await endLeftovers(command, settings, voice);
    return ending.overtime() ? exits.overtime.status : status;
  } finally {
    clearInterval(beats);
    ending.cancel();
    lifeline.done();
  }
}

function environment({ fence, occurrence, attempt }: RunContext, name: string): NodeJS.ProcessEnv {
  const { SOLORUN_OCCURRENCE: _, ...inherited } = process.env;
  return {
    ...inherited,
    SOLORUN_NAME: name,
    SOLORUN_FENCE: String(fence),
    SOLORUN_ATTEMPT: String(attempt),
    ...(occurrence === undefined ? {} : { SOLORUN_OCCURRENCE: occurrence.at.toISOString() }),
  };
}

interface EndInTime {
  /** Resolves when nothing is left of a command that is being stopped. */
  stopped(): Promise<void>;
  overtime(): boolean;
  cancel(): void;
}

/** Stops the command when its lock is lost, or when it has run for too long. */
function endInTime(
  command: Command,
  signal: AbortSignal,
  settings: RunSettings,
  { voice, onEnding }: { readonly voice: Voice; readonly onEnding: (graceMs: number) => void },
): EndInTime {
  const { name, onLost, maxRunMs } = settings;
  let stopped: Promise<void> | undefined;
  let overtime = false;
  const stop = (graceMs: number): void => {
    if (stopped !== undefined) return;
    onEnding(graceMs);
    stopped = command.stop(graceMs);
  };
  const lost = (): void => {
    const { reason } = signal as { reason: unknown };
    // A signal that was sent to us is the command's, and not for us to act on.
    if (!(reason instanceof LeaseLostError)) return;
    const next = onLost === 'warn' ? 'The command runs on without the lock (--on-lost warn).' : 'Ending the command.';
    voice.error(`${plain(reason.message)} ${next}`);
    if (onLost === 'kill') stop(lostGraceOf(settings));
  };
  signal.addEventListener('abort', lost, { once: true });
  if (signal.aborted) lost();
  const timer =
    maxRunMs === undefined
      ? undefined
      : setTimeout(() => {
          if (stopped !== undefined) return;
          overtime = true;
          voice.error(`${named(name)} has run for ${duration(maxRunMs)} (--max-run). Ending the command.`);
          stop(settings.graceMs);
        }, maxRunMs);
  return {
    stopped: async () => stopped,
    overtime: () => overtime,
    cancel() {
      signal.removeEventListener('abort', lost);
      clearTimeout(timer);
    },
  };
}

/** A command that turns itself into a daemon must not run on when the lock is given back. */
async function endLeftovers(command: Command, { leftovers, graceMs, name }: RunSettings, voice: Voice): Promise<void> {
  if (leftovers === 'leave') return;
  const left = command.left();
  if (left === 0) return;
  const processes = left === 1 ? 'a process' : `${left} processes`;
  if (leftovers === 'wait') {
    voice.note(`the command ended and left ${processes} behind; ${named(name)} is held until all have ended`);
    await command.gone();
    return;
  }
  voice.note(`the command ended and left ${processes} behind; ending them (--leftovers wait or leave would not)`);
  await command.stop(graceMs);
  if (command.left() > 0) voice.error(`what the command left behind could not be ended; it runs on without ${named(name)}`);
}

function tellEvents(solo: Solo, voice: Voice): void {
  solo.on('acquired', ({ fence, occurrence }) =>
    voice.detail(`acquired, fence ${fence}${occurrence?.recovering === true ? `, attempt ${occurrence.attempt}` : ''}`),
  );
  solo.on('released', ({ outcome, heldMs }) => voice.detail(`released after ${duration(heldMs)}, ${outcome}`));
  solo.on('drift', ({ earlyMs }) => voice.note(`this machine's clock is ${duration(earlyMs)} ahead of the store's; waiting`));
  solo.on('missed', ({ occurrence }) =>
    voice.note(`the occurrence of ${occurrence.at.toISOString()} was started and never completed (${occurrence.state})`),
  );
  let asksAgain = false;
  solo.on('unconfirmed', ({ operation, error }) => {
    const why = plain(messageOf(error));
    // A wait that does nothing and says nothing looks like one that hangs.
    if (operation === 'acquire' && !asksAgain) voice.note(`${why}; asking again (--on-outage)`);
    else voice.detail(`${operation}: no answer (${why})`);
    asksAgain ||= operation === 'acquire';
  });
}

function skipWords(settings: RunSettings, { reason, holder, settling }: Skipped): string {
  const { name, slot } = settings;
  const occurrence = slot === undefined ? 'this occurrence' : `the occurrence of ${slot.at.toISOString()}`;
  switch (reason) {
    case 'held':
      return `skipped: ${heldWords(settings, holder, settling)}`;
    case 'done':
      return `skipped: ${occurrence} of ${named(name)} has run`;
    case 'superseded':
      return `skipped: a later occurrence of ${named(name)} than ${occurrence} has been claimed`;
    case 'exhausted':
      return `skipped: ${occurrence} of ${named(name)} failed or crashed, and has no attempts left (--attempts)`;
    case 'early':
    case 'closed':
      return `skipped: ${occurrence} of ${named(name)} (${reason})`;
  }
}

function busyWords(settings: RunSettings, error: LockBusyError | LockTimeoutError): string {
  const waited = error instanceof LockTimeoutError ? `; gave up after ${duration(error.waitedMs)}` : '';
  return `${heldWords(settings, error.holder, 'settling' in error ? error.settling : undefined)}${waited}`;
}

function heldWords({ name, leaseMs }: RunSettings, holder: Holder | undefined, settling: boolean | undefined): string {
  if (settling !== true) return `${named(name)} is held by ${holderOf(holder)}`;
  return (
    `${named(name)} may be held: the store has just come back, and grants nothing until leases that it may have forgotten are over ` +
    `(a --wait of more than ${duration(leaseMs)}, the --lease, waits for that)`
  );
}

/** The run has been told already; a store that will not say goodbye changes nothing of it. */
async function closeQuietly(solo: Solo, voice: Voice): Promise<void> {
  try {
    await solo.close({ graceMs: 0 });
  } catch (error) {
    voice.detail(`closing the store: ${messageOf(error)}`);
  }
}
