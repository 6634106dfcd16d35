import { writeSync } from 'node:fs';
import { Ending } from './exit.ts';

/*
 * All output goes to the file descriptors themselves. `process.stdout` and `process.stderr` would make a pipe non-blocking for every
 * process that shares it. The command is one of them, and its writes would fail. And text that they have not written yet is lost when the
 * process exits.
 */

function write(fd: 1 | 2, text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Another process made it non-blocking, and it is full.
      if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      // No process reads it any more.
      else if (code === 'EPIPE' || code === 'EBADF' || code === 'EIO') return;
      else throw error;
    }
  }
}

/** Prints the answer on stdout. @throws Ending */
export function print(text: string): void {
  try {
    write(1, text.endsWith('\n') ? text : `${text}\n`);
  } catch (error) {
    throw new Ending('unsafe', `cannot write to stdout: ${(error as Error).message}`, { cause: error });
  }
}

export type Loudness = 'quiet' | 'normal' | 'verbose';

/** Our own words, on stderr: stdout is the command's. */
export interface Voice {
  readonly error: (message: string) => void;
  readonly note: (message: string) => void;
  readonly detail: (message: string) => void;
}

export function createVoice(tool: string, loudness: Loudness): Voice {
  const say = (message: string): void => {
    try {
      write(2, `${tool}: ${message}\n`);
    } catch (error) {
      // A log on a full disk, or the like. There is no other place to report it, and no reason to abandon a command that runs.
      if ((error as NodeJS.ErrnoException).syscall !== 'write') throw error;
    }
  };
  return {
    error: say,
    note: (message) => void (loudness === 'quiet' || say(message)),
    detail: (message) => void (loudness === 'verbose' && say(message)),
  };
}

/**
 * Prints the warnings of libraries in our own form and loudness. Node would print them with an id that means nothing here. Deprecations
 * concern programmers, so they are shown with --verbose alone.
 */
export function takeWarnings(voice: Voice): void {
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => (name === 'DeprecationWarning' ? voice.detail(message) : voice.note(message)));
}
