import { checkObject } from './checks.ts';
import { OptionError, quote, redact } from './errors.ts';
import { levels, lines, type Line, type LogLevel } from './event-lines.ts';
import type { SoloEventName, SoloEvents } from './events.ts';
import { checkKnown, ofLogEvents } from './known-options.ts';
import { plain } from './plain.ts';
import type { Solo } from './solo.ts';

/**
 * The part of a logger that is used. Loggers that have it are `console`, pino's (which gets the lock, the fence and the like as an
 * object before the text), Nest's `Logger` (whose `info` is called `log`), and others with these methods.
 */
export interface EventLogger {
  readonly debug?: ((...line: never[]) => unknown) | undefined;
  readonly info?: ((...line: never[]) => unknown) | undefined;
  /** Instead of `info`. */
  readonly log?: ((...line: never[]) => unknown) | undefined;
  readonly warn: (...line: never[]) => unknown;
  readonly error: (...line: never[]) => unknown;
  /** Only pino has it. */
  readonly bindings?: (() => unknown) | undefined;
}

export interface LogEventsOptions {
  /** The lowest level that is logged; `debug` adds waits, releases and clocks that run ahead. @default 'info' */
  readonly level?: LogLevel | undefined;
}

/** A longer line is cut, in characters. */
const LONGEST_LINE = 1_000;

/**
 * Logs what happens in a solo, a line each: runs that began, were skipped (why, who has the lock, since when, until when at most),
 * failed or were missed, leases that were lost, pauses, and answers that did not come. Names are quoted, each line is one line, and
 * credentials in messages of errors are masked.
 *
 * `SOLORUN_LOG=info` in the environment (or `debug`, `warn`, `error`) does the same for every solo of a process, on stderr.
 *
 * @returns a function that ends it
 * @throws OptionError
 * @example
 * const stop = logEvents(solo, pino(), { level: 'debug' });
 */
export function logEvents(solo: Pick<Solo, 'on'>, logger: EventLogger, options: LogEventsOptions = {}): () => void {
  checkLogger(logger);
  checkObject('logEvents()', options);
  checkKnown(ofLogEvents, options);
  const { level = 'info' } = options;
  if (!levels.includes(level))
    throw new OptionError(`The level of logEvents() is one of ${levels.join(', ')}, not ${String(level)}.`);
  const write = writerOf(logger);
  const stops = (Object.keys(lines) as SoloEventName[])
    .filter((event) => levels.indexOf(lines[event].level) >= levels.indexOf(level))
    .map((event) => listen(solo, event, write));
  return () => {
    for (const stop of stops) stop();
  };
}

function checkLogger(logger: unknown): asserts logger is EventLogger {
  const given = (logger ?? {}) as Partial<EventLogger>;
  if (typeof given.warn === 'function' && typeof given.error === 'function' && typeof (given.info ?? given.log) === 'function')
    return;
  throw new OptionError('logEvents() needs a logger with info (or log), warn and error: console, a pino or a Nest logger.');
}

type Write = (level: LogLevel, text: string, fields: Fields) => void;
type Fields = Readonly<Record<string, unknown>>;

function writerOf(logger: EventLogger): Write {
  // Others print an object that comes first, and the text after it.
  const takesFields = typeof logger.bindings === 'function';
  return (level, text, fields) => {
    const name = level === 'info' && logger.info === undefined ? 'log' : level;
    const method = logger[name] as ((...line: unknown[]) => unknown) | undefined;
    method?.call(logger, ...(takesFields ? [fields, text] : [text]));
  };
}

function listen(solo: Pick<Solo, 'on'>, event: SoloEventName, write: Write): () => void {
  const { level, says } = lines[event] as Line<SoloEventName>;
  return solo.on(event, (detail) => {
    const { name, provider, fence } = detail as Detail;
    // JSON has no bigint.
    const fields = { event: `solorun:${event}`, lock: name, provider, ...(fence === undefined ? {} : { fence: String(fence) }) };
    const line = redact(`${wordOf(event)} ${quote(name)}${says(detail)}`);
    write(level, plain(line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}…` : line), fields);
  });
}

/** Of any event. */
type Detail = SoloEvents[SoloEventName] & { readonly fence?: bigint };

function wordOf(event: SoloEventName): string {
  return event === 'scheduleConflict' ? 'schedule conflict' : event;
}
