import { Console } from 'node:console';
import { quote } from './errors.ts';
import { levels, type LogLevel } from './event-lines.ts';
import { logEvents, type EventLogger } from './log-events.ts';
import type { Solo } from './solo.ts';

let refused = false;

/** Logs the events of a solo on stderr if the environment says so: `SOLORUN_LOG=info`, or another level. */
export function logByEnvironment(solo: Solo): void {
  const level = process.env['SOLORUN_LOG'] ?? '';
  if (level === '') return;
  if (isLevel(level)) return void logEvents(solo, stderr(), { level });
  if (refused) return;
  refused = true;
  process.emitWarning(`SOLORUN_LOG is one of ${levels.join(', ')}, not ${quote(level)}: nothing is logged.`, {
    code: 'SOLORUN_LOG',
  });
}

function isLevel(level: string): level is LogLevel {
  return (levels as readonly string[]).includes(level);
}

function stderr(): EventLogger {
  // A reader that goes away (EPIPE) must not end the program.
  const terminal = new Console({ stdout: process.stderr, ignoreErrors: true });
  const at =
    (level: LogLevel): ((line: string) => void) =>
    (line) =>
      terminal.log(`solorun ${level} ${line}`);
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
