import { constants } from 'node:os';
import { statusOfSignal } from './exit.ts';
import type { Command } from './command.ts';

/** We hand these on, and the command decides their meaning. */
const FORWARDED = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT'] as const;
/** Before the command runs, these end the wait. */
const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'];
/** A terminal sends these to all of its foreground group, so the command gets them without us: once is enough. */
const FROM_KEYBOARD: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT', 'SIGCONT'];

/** A signal that came while there was no command to hand it on to. */
export class Interrupted extends Error {
  readonly status: number;

  constructor(signal: NodeJS.Signals) {
    super(`ended by ${signal}`);
    this.status = statusOfSignal(constants.signals[signal]);
  }
}

export interface Signals {
  /** Aborts when one comes before there is a command. */
  readonly interrupted: AbortSignal;
  /** From now on they go to the command. */
  handTo(command: Command): void;
}

/** For the rest of the process: one that comes at the very end must not take the exit status away. */
export function takeSignals(): Signals {
  const interrupt = new AbortController();
  let target: Command | undefined;
  for (const signal of FORWARDED) {
    process.on(signal, () => {
      if (target === undefined) {
        if (ENDING.includes(signal)) interrupt.abort(new Interrupted(signal));
      } else if (target.tree.ownGroup || !FROM_KEYBOARD.includes(signal)) target.forward(signal);
    });
  }
  return { interrupted: interrupt.signal, handTo: (command) => void (target = command) };
}
