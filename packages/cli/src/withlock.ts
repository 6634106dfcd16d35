import { Ending, exits } from './exit.ts';
import { createVoice, print, takeWarnings } from './output.ts';
import { run } from './run.ts';
import { named } from './show.ts';
import { postgresStore } from './store.ts';
import { tell } from './trouble.ts';

const USAGE = 'withlock <lockName> [--db <connection_string>] -- <command>';

/** Shown by --help and in the manual. */
export const help: string = `Usage: ${USAGE}

Waits for a lock in Postgres, and runs the command while it holds the lock. The command of this name in the npm package advisory-lock
does the same, with the same locks: both exclude each other, so machines can be changed over one at a time.

  --db <url>   the database (default: PG_CONNECTION_STRING in the environment, which other users of this machine cannot see)
  -h, --help   this page

Unlike there, nothing is printed on stdout, signals are passed on to the command, and the exit status is the command's own, 128+n if
signal n ended it (solorun --help has the others). solorun run can do more.

Examples:
  # One migration at a time over all hosts
  PG_CONNECTION_STRING=postgres://app@db.internal/app withlock migrate -- npm run migrate
`;

/** Runs `withlock` with these words. Resolves to the exit status. */
export async function withlock(words: readonly string[]): Promise<number> {
  const voice = createVoice('withlock', 'normal');
  takeWarnings(voice);
  try {
    const asked = parse(words);
    if (asked === undefined) {
      print(help);
      return 0;
    }
    // All users of the machine can read the command line, and it may hold a password.
    process.title = `withlock ${named(asked.name)}`;
    const { connectionString, ...rest } = asked;
    return await run(
      {
        ...rest,
        store: postgresStore('postgres', connectionString, 'advisory-lock'),
        namespace: undefined,
        label: undefined,
        policy: { onBusy: 'wait', waitMs: Number.POSITIVE_INFINITY },
        // A database that is not there is reported, but only after the time that its restart may take.
        outage: { outageMs: 60_000 },
        leaseMs: 60_000,
        maxRunMs: undefined,
        graceMs: 10_000,
        slot: undefined,
        attempts: undefined,
        withinMs: undefined,
        ignorePause: false,
        history: false,
        onRun: undefined,
        onLost: 'kill',
        leftovers: 'end',
        busyExitCode: exits.busy.status,
        loudness: 'normal',
      },
      voice,
    );
  } catch (error) {
    const { status, message } = tell(error);
    voice.error(message);
    return status;
  }
}

interface Asked {
  readonly name: string;
  readonly connectionString: string;
  readonly command: readonly string[];
}

/** Undefined: help is wanted. @throws Ending */
function parse(words: readonly string[]): Asked | undefined {
  const dashes = words.indexOf('--');
  const own = dashes === -1 ? words : words.slice(0, dashes);
  const command = dashes === -1 ? [] : words.slice(dashes + 1);
  const names: string[] = [];
  let db: string | undefined;
  for (let index = 0; index < own.length; index += 1) {
    const word = own[index]!;
    if (word === '-h' || word === '--help') return undefined;
    if (word === '--db') db = own[(index += 1)] ?? '';
    else if (word.startsWith('--db=')) db = word.slice('--db='.length);
    else if (word.startsWith('-')) throw wrong(`there is no option ${JSON.stringify(word.split('=', 1)[0])}`);
    else names.push(word);
  }
  const [name, ...more] = names;
  if (name === undefined) throw wrong('there is no <lockName>');
  if (more.length > 0) throw wrong(`unknown arguments: ${JSON.stringify(more)}`);
  if (command.length === 0) throw wrong('there is no <command>');
  const connectionString = db ?? process.env['PG_CONNECTION_STRING'];
  if (connectionString === undefined) throw wrong('there is neither --db nor PG_CONNECTION_STRING');
  if (connectionString === '')
    throw wrong(`${db === undefined ? 'PG_CONNECTION_STRING' : '--db'} is empty: is the variable set that it comes from?`);
  return { name, connectionString, command };
}

function wrong(message: string): Ending {
  return new Ending('usage', `${message}.\nUsage: ${USAGE}`);
}
