import { constants } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { checkMs, checkObject } from './checks.ts';
import { messageOf, OptionError } from './errors.ts';
import { checkKnown, ofCloseOnSignals } from './known-options.ts';
import type { Solo } from './solo.ts';

export interface CloseOnSignalsOptions {
  /** As for `close()`, in ms. Most supervisors kill after 30 s; Docker after 10 s. @default 25_000 */
  readonly graceMs?: number | undefined;
  /** @default ['SIGTERM', 'SIGINT'] */
  readonly signals?: readonly NodeJS.Signals[] | undefined;
  /**
   * Whether the process ends once all is closed. @default true, unless the program, or a library in it, listens for the signal as well:
   * such a listener is at work, and ends the process when it is done
   */
  readonly endProcess?: boolean | undefined;
}

/** Solos that are closed when a signal comes. */
interface Watched {
  readonly solos: readonly Solo[];
  readonly graceMs: number;
  readonly signals: readonly NodeJS.Signals[];
  readonly endProcess: boolean | undefined;
}

/** All that this process has asked for. They share the listeners: each would else take another one for the program's own. */
const watched = new Set<Watched>();
/** By signal. */
const listeners = new Map<NodeJS.Signals, () => void>();
/** The signal that all is being closed for. */
let closing: Closing | undefined;

interface Closing {
  /** Whether others listened when it came, and so are at work now. */
  shared: boolean;
}

/** How long a process that has closed all may go on before a warning says why, in ms. */
const LINGERS_MS = 5_000;

/**
 * Closes solos when the process is asked to end: at the first signal nothing more is claimed, handlers are asked to stop and waited for,
 * and locks are released, so that another replica takes over at once. Then the process ends as by that signal (status 128 + n). A second
 * signal ends it at once.
 *
 * A program that listens for the signal itself is never ended in the middle of its own work: the solos are closed beside it, and the end
 * of the process is left to the program. `endProcess: true` ends it all the same, as soon as the solos are closed. A listener that
 * removes itself and sends the signal once more when it is done, as Nest's shutdown hooks do, need not know of this one.
 *
 * A solo that cannot be closed within `graceMs` is reported in a process warning (`SOLORUN_CLOSE`), and does not keep the process.
 *
 * @returns a function that undoes it, for solos that are closed otherwise
 * @throws OptionError
 * @example
 * closeOnSignals(solo, { graceMs: 20_000 });
 */
export function closeOnSignals(solos: Solo | readonly Solo[], options: CloseOnSignalsOptions = {}): () => void {
  const one = settle(solos, options);
  watched.add(one);
  for (const signal of one.signals) listen(signal);
  return () => {
    watched.delete(one);
    for (const signal of one.signals) unlistenUnlessWatched(signal);
  };
}

function settle(solos: Solo | readonly Solo[], options: CloseOnSignalsOptions): Watched {
  checkObject('closeOnSignals()', options);
  checkKnown(ofCloseOnSignals, options);
  const { graceMs = 25_000, signals = ['SIGTERM', 'SIGINT'], endProcess } = options;
  const list = Array.isArray(solos) ? [...(solos as readonly Solo[])] : [solos as Solo];
  if (list.some((solo) => typeof solo?.close !== 'function')) {
    throw new OptionError('closeOnSignals() takes a solo, or several in an array.');
  }
  checkMs('graceMs', graceMs, 0);
  if (!Array.isArray(signals) || !signals.every((signal) => isHeard(signal as string))) {
    throw new OptionError(
      "The signals of closeOnSignals() are names of signals that can be heard, in an array: ['SIGTERM', 'SIGINT'].",
    );
  }
  if (endProcess !== undefined && typeof endProcess !== 'boolean') {
    throw new OptionError(`endProcess of closeOnSignals() is true or false, not ${String(endProcess)}.`);
  }
  return { solos: list, graceMs, signals: [...signals] as NodeJS.Signals[], endProcess };
}

function isHeard(signal: string): boolean {
  return Object.hasOwn(constants.signals, signal) && signal !== 'SIGKILL' && signal !== 'SIGSTOP';
}

function listen(signal: NodeJS.Signals): void {
  if (listeners.has(signal)) return;
  const listener = (): void => onSignal(signal);
  listeners.set(signal, listener);
  // The first of all: one that listens `once` is gone by the time that later ones are called, and is at work all the same.
  process.prependListener(signal, listener);
}

function unlistenUnlessWatched(signal: NodeJS.Signals): void {
  const listener = listeners.get(signal);
  if (listener === undefined || [...watched].some(({ signals }) => signals.includes(signal))) return;
  listeners.delete(signal);
  process.removeListener(signal, listener);
}

function onSignal(signal: NodeJS.Signals): void {
  const shared = process.listenerCount(signal) > 1;
  if (closing === undefined) {
    closing = { shared };
    void closeAll(signal, closing);
  } else if (shared) {
    // The program's own listeners know what a second signal means to them.
  } else if (closing.shared) {
    // The other listeners have removed themselves and sent it once more: they are done, and leave the end to us.
    closing.shared = false;
  } else endBy(signal);
}

async function closeAll(signal: NodeJS.Signals, state: Closing): Promise<void> {
  const all = [...watched].filter(({ signals }) => signals.includes(signal));
  await Promise.all(all.flatMap(({ solos, graceMs }) => solos.map((solo) => closeOne(solo, graceMs))));
  // Warnings are shown before the process ends.
  await nextTurn();
  const wanted = all.map(({ endProcess }) => endProcess);
  if (wanted.includes(true) || (!wanted.includes(false) && !state.shared)) return endBy(signal);
  closing = undefined;
  for (const one of all) watched.delete(one);
  for (const each of listeners.keys()) unlistenUnlessWatched(each);
  if (!wanted.includes(false)) warnIfItLingers(signal);
}

async function closeOne(solo: Solo, graceMs: number): Promise<void> {
  try {
    await solo.close({ graceMs });
  } catch (error) {
    process.emitWarning(messageOf(error), { code: 'SOLORUN_CLOSE' });
  }
}

function warnIfItLingers(signal: NodeJS.Signals): void {
  const say = (): void =>
    process.emitWarning(
      `The solos were closed at ${signal}, and the end of the process was left to the listeners that it has for ${signal}, for ` +
        'they may be at work. If none of them ends it, give closeOnSignals() endProcess: true.',
      { code: 'SOLORUN_LINGERS' },
    );
  setTimeout(say, LINGERS_MS).unref();
}

/** Ends the process as if nothing had listened for the signal. */
function endBy(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  // The first process of a container is not ended by its own signal.
  if (process.pid !== 1) process.kill(process.pid, signal);
  else process.exit(128 + constants.signals[signal]);
}
