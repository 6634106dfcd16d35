import { writeSync } from 'node:fs';
import { Ending } from './exit.ts';

/*
 * Written to the file descriptors themselves. `process.stdout` and `process.stderr` would make a pipe non-blocking for everybody who
 * shares it, the command included, whose writes would then fail; and what they have not written is lost when the process exits.
 */

function write(fd: 1 | 2, text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Somebody else made it non-blocking, and it is full.
      if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      // Nobody reads any more.
      else if (code === 'EPIPE' || code === 'EBADF' || code === 'EIO') return;
      else throw error;
    }
  }
}

/** What was asked for. @throws Ending */
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
      // A log on a full disk, or the like. There is no other place to tell it, and no reason to let go of a command that runs.
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
 * What libraries warn of in this process, in our words and as loud as we are. Node would print it with an id that means nothing here.
 * What will not work any more one day is for those who write programs.
 */
export function takeWarnings(voice: Voice): void {
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => (name === 'DeprecationWarning' ? voice.detail(message) : voice.note(message)));
}
