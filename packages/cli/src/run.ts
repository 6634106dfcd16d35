import {
  createSolo,
  LockBusyError,
  LockPausedError,
  LockTimeoutError,
  type LeaseLostError,
  type OccurrenceOptions,
  type RunContext,
  type RunResult,
  type Solo,
  messageOf,
} from '@solorun/core';
import { checkExecutable } from './executable.ts';
import { exits } from './exit.ts';
import { marginOf } from './grace.ts';
import type { Voice } from './output.ts';
import type { RunSettings } from './run-options.ts';
import { busyWords, pausedWords, reportEvents, skipWords, tooOldWords } from './run-words.ts';
import type { Slot } from './schedule.ts';
import { onceSettled } from './settling.ts';
import { named } from './show.ts';
import { takeSignals, type Signals } from './signals.ts';
import { underLock } from './under-lock.ts';
import { showWaiting } from './waiting.ts';

/** The command ended by itself, and not well: the record keeps its exit status. */
class CommandFailed extends Error {}

/** Runs the command while its lock is held. Resolves to the exit status. @throws errors that `tell` knows */
export async function run(settings: RunSettings, voice: Voice): Promise<number> {
  const { name, store, slot, withinMs } = settings;
  if (slot !== undefined && withinMs !== undefined && Date.now() - slot.at.getTime() > withinMs) {
    voice.note(tooOldWords(settings, slot, withinMs));
    return settings.busyExitCode;
  }
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
  reportEvents(solo, voice);
  try {
    return await new Run({ solo, settings, signals, voice, stopWaiting }).status();
  } finally {
    await closeQuietly(solo, voice);
  }
}

interface RunParts {
  readonly solo: Solo;
  readonly settings: RunSettings;
  readonly signals: Signals;
  readonly voice: Voice;
  /** Ends the line or the spinner that shows the wait. */
  readonly stopWaiting: () => void;
}

/** From the first question for the lock to its release. */
class Run {
  readonly #parts: RunParts;
  /** The command's, once it has ended. */
  #status: number | undefined;
  #released = false;
  #lost: LeaseLostError | undefined;

  constructor(parts: RunParts) {
    this.#parts = parts;
    parts.solo.on('released', () => (this.#released = true));
    parts.solo.on('lost', ({ error }) => (this.#lost = error));
  }

  async status(): Promise<number> {
    const { settings, signals, voice, stopWaiting } = this.#parts;
    try {
      const result = await onceSettled(() => this.#once(), settings, signals, voice);
      stopWaiting();
      if (result.status === 'skipped') {
        voice.note(skipWords(settings, result));
        return settings.busyExitCode;
      }
      this.#warnUnlessReleased();
      return 0;
    } catch (error) {
      stopWaiting();
      return this.#statusAfter(error);
    }
  }

  #once(): Promise<RunResult<void>> {
    const { solo, settings, signals } = this.#parts;
    const { name, policy, outage, slot, attempts, ignorePause, history, onRun } = settings;
    return solo.run(name, (context) => this.#command(context), {
      ...policy,
      ...outage,
      ...(slot === undefined ? {} : occurrenceOf(slot, attempts)),
      ignorePause,
      history,
      onRun,
      signal: signals.interrupted,
    });
  }

  async #command(context: RunContext): Promise<void> {
    const { settings, signals, voice, stopWaiting } = this.#parts;
    stopWaiting();
    this.#status = await underLock(context, settings, signals, voice);
    if (this.#status !== 0) throw new CommandFailed(`exit status ${this.#status}`);
  }

  #statusAfter(error: unknown): number {
    const { settings, voice } = this.#parts;
    if (this.#lost !== undefined && this.#status !== undefined) {
      // The loss was reported when it happened.
      return settings.onLost === 'warn' && this.#status !== 0 ? this.#status : exits.lost.status;
    }
    if (error instanceof CommandFailed) {
      this.#warnUnlessReleased();
      return this.#status!;
    }
    if (error instanceof LockBusyError || error instanceof LockTimeoutError) {
      voice.error(busyWords(settings, error));
      return settings.busyExitCode;
    }
    if (error instanceof LockPausedError) {
      voice.error(`${named(settings.name)} is paused ${pausedWords(error)}`);
      return settings.busyExitCode;
    }
    throw error;
  }

  #warnUnlessReleased(): void {
    const { settings, voice } = this.#parts;
    if (this.#released) return;
    voice.error(`the store could not be told that ${named(settings.name)} is over; it comes free when its lease ends`);
  }
}

function occurrenceOf({ at, scheduleHash, schedule, nextDueAt }: Slot, attempts: number | undefined): OccurrenceOptions {
  return { occurrence: at, scheduleHash, schedule, nextDueAt, attempts };
}

/** The status of the run is known by now: a store that cannot be closed changes nothing of it. */
async function closeQuietly(solo: Solo, voice: Voice): Promise<void> {
  try {
    await solo.close({ graceMs: 0 });
  } catch (error) {
    voice.detail(`closing the store: ${messageOf(error)}`);
  }
}
