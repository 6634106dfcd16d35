/** One way in which `solorun` and `withlock` end, beside the command's own status. */
interface Exit {
  readonly status: number;
  readonly meaning: string;
}

export type ExitName = 'unsafe' | 'usage' | 'store' | 'internal' | 'busy' | 'lost' | 'overtime' | 'notExecutable' | 'notFound';

/**
 * The exit statuses that are ours: a contract, kept over versions. `--help`, the man pages and docs/cli.md show this table. The
 * numbers are those of sysexits(3), timeout(1) and POSIX shells, so that they mean the same to other tools.
 */
export const exits: Readonly<Record<ExitName, Exit>> = {
  unsafe: {
    status: 1,
    meaning:
      'check, status, inspect, release, resume, rerun, doctor: a job is not well, or what was asked for is not there, or not safe',
  },
  usage: { status: 64, meaning: 'the command line cannot work; nothing was done' },
  store: { status: 69, meaning: 'the store could not be asked; the command was not started' },
  internal: { status: 70, meaning: 'a mistake in solorun itself; please report it' },
  busy: {
    status: 75,
    meaning:
      'not run: the lock is held elsewhere or paused, or this occurrence has had its runs or is too old (--within) (--busy-exit-code)',
  },
  lost: { status: 76, meaning: 'the lock was lost while the command ran' },
  overtime: { status: 124, meaning: 'the command took longer than --max-run and was stopped' },
  notExecutable: { status: 126, meaning: 'the command was found but may not be executed' },
  notFound: { status: 127, meaning: 'the command was not found' },
};

/** An end that is reported to the user in one line, without a stack. */
export class Ending extends Error {
  readonly exit: ExitName;

  constructor(exit: ExitName, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exit = exit;
  }

  get status(): number {
    return exits[this.exit].status;
  }
}

/** As a shell reports a command that a signal ended. */
export function statusOfSignal(number: number): number {
  return 128 + number;
}
