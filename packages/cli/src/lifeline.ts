import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startGuard } from './guard.ts';
import type { Tree } from './tree.ts';

/** Our end of the pipe to the warden, and to the guard that is there should the warden be killed with us. */
export interface Lifeline {
  /** The processes to end when this process cannot. Called again when the command itself is over. */
  watches(tree: Tree): void;
  /** How long the lock is sure to be ours, in ms. The warden ends the command if no newer call comes within that time. */
  trusted(remainingMs: number): void;
  /** The command has been asked to end. The warden kills it after so many ms. */
  ending(graceMs: number): void;
  /** The command has ended. */
  done(): void;
}

export interface LifelineOptions {
  readonly nonce: string;
  /** Between SIGTERM and SIGKILL when the lock is not sure any more, in ms. */
  readonly lostGraceMs: number;
  readonly onLost: 'kill' | 'warn';
  readonly onBroken: () => void;
}

/** Starts the warden, and does not wait for it: it finds in the pipe what was written before it listens. */
export function startLifeline({ nonce, lostGraceMs, onLost, onBroken }: LifelineOptions): Lifeline {
  const program = fileURLToPath(new URL('warden.js', import.meta.url));
  const warden = spawn(process.execPath, [program, nonce, String(lostGraceMs), onLost], {
    // Signals that the terminal or a supervisor sends to our group do not reach it.
    detached: process.platform !== 'win32',
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    env: environment(),
    windowsHide: true,
  });
  const pipe = warden.stdin;
  const guard = startGuard(process.env);
  let over = false;
  const broken = (): void => {
    if (!over) onBroken();
    over = true;
  };
  warden.on('error', broken);
  warden.on('exit', broken);
  pipe.on('error', broken);
  warden.unref();
  // A pipe of Node's is a socket.
  (pipe as unknown as { unref(): void }).unref();

  const write = (line: string): void => void (over || pipe.write(`${line}\n`));
  return {
    watches(tree) {
      write(`child ${tree.pid} ${tree.ownGroup ? 'group' : 'alone'} ${tree.over ? 'over' : 'runs'}`);
      guard?.watches(tree);
    },
    trusted(remainingMs) {
      const now = Number(process.hrtime.bigint() / 1_000n) / 1_000;
      write(`until ${now + remainingMs}`);
    },
    ending: (graceMs) => write(`ending ${graceMs}`),
    done() {
      guard?.done();
      write('done');
      over = true;
      pipe.end();
    },
  };
}

/** Variables that Node.js may need to start. No NODE_OPTIONS, no passwords, no nonce: by a nonce a solorun around this one would end it. */
function environment(): NodeJS.ProcessEnv {
  const needed = ['PATH', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'SystemRoot'];
  return Object.fromEntries(needed.map((name) => [name, process.env[name]]));
}
