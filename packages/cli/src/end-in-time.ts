import { LeaseLostError } from '@solorun/core';
import type { Command } from './command.ts';
import { duration } from './duration.ts';
import { lostGraceOf } from './grace.ts';
import type { Voice } from './output.ts';
import type { RunSettings } from './run-options.ts';
import { named, plain } from './show.ts';

export interface EndInTimeTerms {
  readonly command: Command;
  /** Aborts when the lock is lost. */
  readonly signal: AbortSignal;
  readonly settings: RunSettings;
  readonly voice: Voice;
  /** Called once, just before the command is asked to end. */
  readonly onEnding: (graceMs: number) => void;
}

/** Stops the command when its lock is lost, or when it has run for too long. */
export class EndInTime {
  readonly #terms: EndInTimeTerms;
  readonly #timer: NodeJS.Timeout | undefined;
  /** Of a command that is being stopped. */
  #stopped: Promise<void> | undefined;
  #overtime = false;

  constructor(terms: EndInTimeTerms) {
    this.#terms = terms;
    const { signal } = terms;
    const { maxRunMs } = terms.settings;
    signal.addEventListener('abort', this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
    if (maxRunMs !== undefined) this.#timer = setTimeout(() => this.#tooLong(maxRunMs), maxRunMs);
  }

  /** Resolves when nothing is left of a command that is being stopped. */
  async stopped(): Promise<void> {
    return this.#stopped;
  }

  /** Whether the command was stopped because it had run for too long. */
  get overtime(): boolean {
    return this.#overtime;
  }

  cancel(): void {
    this.#terms.signal.removeEventListener('abort', this.#onAbort);
    clearTimeout(this.#timer);
  }

  readonly #onAbort = (): void => {
    const { signal, settings, voice } = this.#terms;
    const { reason } = signal as { reason: unknown };
    // A signal that was sent to us is the command's, and not for us to act on.
    if (!(reason instanceof LeaseLostError)) return;
    const warns = settings.onLost === 'warn';
    const next = warns ? 'The command runs on without the lock (--on-lost warn).' : 'Ending the command.';
    voice.error(`${plain(reason.message)} ${next}`);
    if (!warns) this.#stop(lostGraceOf(settings));
  };

  #tooLong(maxRunMs: number): void {
    const { settings, voice } = this.#terms;
    if (this.#stopped !== undefined) return;
    this.#overtime = true;
    voice.error(`${named(settings.name)} has run for ${duration(maxRunMs)} (--max-run). Ending the command.`);
    this.#stop(settings.graceMs);
  }

  #stop(graceMs: number): void {
    if (this.#stopped !== undefined) return;
    this.#terms.onEnding(graceMs);
    this.#stopped = this.#terms.command.stop(graceMs);
  }
}
