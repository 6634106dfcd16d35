import { writeSync } from 'node:fs';

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

/** What was asked for. */
export function print(text: string): void {
  write(1, text.endsWith('\n') ? text : `${text}\n`);
}

export type Loudness = 'quiet' | 'normal' | 'verbose';

/** Our own words, on stderr: stdout is the command's. */
export interface Voice {
  readonly error: (message: string) => void;
  readonly note: (message: string) => void;
  readonly detail: (message: string) => void;
}

export function createVoice(tool: string, loudness: Loudness): Voice {
  const say = (message: string): void => write(2, `${tool}: ${message}\n`);
  return {
    error: say,
    note: (message) => void (loudness === 'quiet' || say(message)),
    detail: (message) => void (loudness === 'verbose' && say(message)),
  };
}

/** What libraries warn of in this process, in our words and as loud as we are. Node would print it with an id that means nothing here. */
export function takeWarnings(voice: Voice): void {
  process.removeAllListeners('warning');
  process.on('warning', ({ message }) => voice.note(message));
}
