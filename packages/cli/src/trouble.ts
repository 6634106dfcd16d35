import {
  ClosedError,
  LeaseLostError,
  LockBusyError,
  LockPausedError,
  LockTimeoutError,
  OptionError,
  SolorunError,
  UnsupportedError,
} from '@solorun/core';
import { Ending, exits, type ExitName } from './exit.ts';
import { plain } from './show.ts';
import { Interrupted } from './signals.ts';

/** An error, as it is reported to a person and to a script. */
export interface Told {
  readonly status: number;
  readonly message: string;
}

export function tell(error: unknown): Told {
  if (error instanceof Interrupted) return { status: error.status, message: error.message };
  if (error instanceof Ending) return { status: error.status, message: error.message };
  const exit = exitOf(error);
  if (exit === undefined) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { status: exits.internal.status, message: plain(text).replaceAll(String.raw`\n`, '\n') };
  }
  return { status: exits[exit].status, message: inOurWords((error as Error).message) };
}

/** Advice that providers give to programs, and the form of it that a command line can follow. */
const ADVICE: readonly (readonly [string, string])[] = [
  [', use another server, or accept it with { allowEviction: true }', ', or use another server'],
  [', for example by way of the sentinels ({ client: new Redis({ sentinels, name }) })', ''],
  ['or use postgresLease, which', 'or use postgres+lease://, which'],
  [', postgresLease needs none', ', postgres+lease:// needs none'],
];

/** A provider's message, to be shown. */
export function inOurWords(message: string): string {
  return plain(ADVICE.reduce((text, [theirs, ours]) => text.replaceAll(theirs, ours), message));
}

/** Undefined: an error that was not foreseen. */
function exitOf(error: unknown): ExitName | undefined {
  if (error instanceof OptionError || error instanceof UnsupportedError) return 'usage';
  if (error instanceof LockBusyError || error instanceof LockTimeoutError || error instanceof LockPausedError) return 'busy';
  if (error instanceof LeaseLostError) return 'lost';
  if (error instanceof ClosedError) return 'internal';
  // ProviderError, and the own errors of providers: a pooler, a refused login.
  if (error instanceof SolorunError) return 'store';
  return undefined;
}
