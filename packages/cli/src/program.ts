import { Command, Option } from 'commander';
import { exits } from './exit.ts';

/*
 * Every word of --help and of the man pages. Nothing is imported here but the parser: what a command does is loaded when it is asked for.
 */

interface Example {
  readonly says: string;
  readonly types: string;
}

/** What a page tells beside its options. */
interface Page {
  readonly about: string;
  readonly examples: readonly Example[];
}

/** For the man pages. */
export const pages: WeakMap<Command, Page> = new WeakMap();

type Verb = 'run' | 'status' | 'list' | 'inspect' | 'release' | 'doctor' | 'explain';

/** What was asked for, still as it was written. */
export interface Asked {
  readonly verb: Verb;
  readonly name: string | undefined;
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
}

function page(command: Command, about: string, examples: readonly Example[]): Command {
  pages.set(command, { about, examples });
  const shown = examples.map(({ says, types }) => `  # ${says}\n  ${types.replaceAll('\n', '\n  ')}`).join('\n\n');
  return command.description(about).addHelpText('after', `\nExamples:\n${shown}\n`);
}

const storeOption = (): Option =>
  new Option(
    '--store <url>',
    "where locks are kept: file:DIR, postgres://…, postgres+lease://…, redis://… or memory:. Other users of this machine see a password that stands here for a moment; SOLORUN_STORE and PGPASSFILE keep it to yourself. Default: a directory of this user's",
  ).env('SOLORUN_STORE');
const namespaceOption = (): Option =>
  new Option('--namespace <name>', 'put before every name as namespace/, for programs that share a store').env('SOLORUN_NAMESPACE');
const jsonOption = (): Option => new Option('--json', 'as JSON, for scripts');

export function createProgram(version: string, asked: (what: Asked) => void): Command {
  const program = new Command('solorun')
    .version(version, '-V, --version', 'the version')
    .helpOption('-h, --help', 'this page; also: solorun run --help')
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .configureHelp({ helpWidth: 100, showGlobalOptions: false });
  page(
    program,
    'Runs any command once, however many machines start it: only while it holds a lock, and, with a schedule, once per scheduled instant.',
    [
      {
        says: 'One backup at a time on this machine; a second one is skipped',
        types: 'solorun run backup -- pg_dump -f backup.sql app',
      },
      {
        says: 'The same crontab line on twenty hosts, one run each night',
        types: "0 3 * * * solorun run etl --once-per '0 3 * * *' --timezone UTC --quiet -- /opt/etl/run",
      },
      { says: 'Who holds what, and how the last runs went', types: 'solorun status' },
      { says: 'Whether this store can be trusted', types: 'solorun doctor --store postgres://db.internal/app' },
    ],
  );

  const add = (verb: Verb, usage: string, about: string, examples: readonly Example[], options: readonly Option[]): Command => {
    const command = program.command(verb).helpOption('-h, --help', 'this page').allowExcessArguments(false);
    page(command, about, examples)
      .usage(usage)
      .summary(about.split(/[.:](?: |$)/, 1)[0]!);
    for (const option of options) command.addOption(option);
    command.action(() => {
      const [name] = command.processedArgs as [string | undefined];
      asked({ verb, name, options: command.opts() });
    });
    return command;
  };

  add(
    'run',
    '<name> [options] -- <command…>',
    'Runs the command while it holds the lock of this name, and passes on its exit status. No shell is involved, and nothing is printed on stdout but what the command prints.',
    [
      { says: 'Skip if somebody else runs it (exit status 75)', types: 'solorun run reindex -- ./reindex.sh' },
      { says: 'Wait up to ten minutes for the others', types: 'solorun run migrate --wait 10m -- npm run migrate' },
      {
        says: 'Once per night over all hosts; should the host that runs it die, another one takes over',
        types: "solorun run billing --once-per '0 3 * * *' --timezone UTC --on-busy standby --attempts 2 -- ./bill",
      },
      {
        says: 'Let the command hand the fencing token on to what it writes to',
        types: `solorun run upload -- sh -c 'upload --fence "$SOLORUN_FENCE"'`,
      },
      {
        says: 'Locks on a Postgres; the password comes from PGPASSFILE',
        types: 'SOLORUN_STORE=postgres://app@db.internal/app solorun run report -- ./report',
      },
    ],
    [
      new Option('--name <name>', 'in the place of <name>, for one that begins with a dash'),
      storeOption(),
      namespaceOption(),
      new Option(
        '--on-busy <policy>',
        'when somebody else holds the lock: skip; retry with growing pauses, then skip; wait in line; standby until the occurrence is done elsewhere, and take over if its holder dies; fail, which is a skip that counts as an error (default: skip)',
      ).choices(['skip', 'retry', 'wait', 'standby', 'fail']),
      new Option('--wait <time>', 'wait this long at most; --on-busy wait without it waits without end'),
      new Option(
        '--on-outage <action>',
        'when the store cannot be asked: retry, or fail at once with exit status 69 (default: retry with --on-busy wait and standby, else fail)',
      ).choices(['retry', 'fail']),
      new Option('--outage <time>', 'how long to retry in an outage of the store (default: as long as --wait, else 1m)'),
      new Option('--retries <count>', 'how often to try again, with --on-busy retry (default: 5)'),
      new Option(
        '--once-per <cron>',
        'run once per instant of this schedule, over all machines: the latest that has come. Five or six fields',
      ),
      new Option(
        '--timezone <zone>',
        "of --once-per, for example UTC or Europe/Berlin. Give one where machines differ (default: this machine's)",
      ),
      new Option('--interval <time>', 'as --once-per, for plain intervals: 15m is once per quarter of an hour'),
      new Option('--attempts <count>', 'how many runs of one instant may start when they crash or fail (default: 1)'),
      new Option(
        '--lease <time>',
        'how long the store keeps the lock without news from us: after that, others take over from a machine that is gone',
      ).default('60s'),
      new Option('--max-run <time>', `end the command after this long, with exit status ${exits.overtime.status}`),
      new Option(
        '--grace <time>',
        'how long the command has between SIGTERM and SIGKILL when it must end; when the lock is lost, a third of --lease at most',
      ).default('10s'),
      new Option(
        '--on-lost <action>',
        'when the lock is lost while the command runs: kill it (SIGTERM, then SIGKILL after the grace), or warn',
      )
        .choices(['kill', 'warn'])
        .default('kill'),
      new Option(
        '--leftovers <action>',
        'processes that the command leaves behind when it ends: end them, wait for them with the lock held, or leave them',
      )
        .choices(['end', 'wait', 'leave'])
        .default('end'),
      new Option('--busy-exit-code <status>', `the exit status when the command was not run (default: ${exits.busy.status})`),
      new Option('--label <text>', 'shown to others as the holder, beside host and process id'),
      new Option('-q, --quiet', 'say nothing but errors'),
      new Option('-v, --verbose', 'say what happens, on stderr').conflicts('quiet'),
    ],
  ).argument('[name]', 'of the lock: any text');

  add(
    'status',
    '[options]',
    'Shows every lock: who holds it and for how long, when it last succeeded, and when its lease ends.',
    [
      { says: 'A table', types: 'solorun status' },
      {
        says: 'Jobs without a success today',
        types: `solorun status --json | jq -r '.[] | select(.lastSuccessAt < (now - 86400 | todate)) | .name'`,
      },
    ],
    [storeOption(), namespaceOption(), jsonOption()],
  );
  add(
    'list',
    '[options]',
    'Prints the names, one a line.',
    [{ says: 'All that are held', types: 'solorun list --held' }],
    [storeOption(), namespaceOption(), new Option('--held', 'only those that somebody holds'), jsonOption()],
  );
  add(
    'inspect',
    '<name> [options]',
    `Shows all that the store knows of one lock. Exit status ${exits.unsafe.status} if it knows nothing.`,
    [{ says: 'Who holds the lock, and its fence', types: 'solorun inspect billing' }],
    [storeOption(), namespaceOption(), jsonOption()],
  ).argument('<name>', 'of the lock');
  add(
    'release',
    '<name> --fence <number> [options]',
    'Frees a lock that its holder will not give back. The fence, which inspect shows, makes sure that it is the one you looked at. A holder that still runs is told at its next renewal, and until then two may run: end it first if you can.',
    [{ says: 'After looking', types: 'solorun inspect billing\nsolorun release billing --fence 41' }],
    [new Option('--fence <number>', 'as inspect shows it').makeOptionMandatory(), storeOption(), namespaceOption(), jsonOption()],
  ).argument('<name>', 'of the lock');
  add(
    'doctor',
    '[options]',
    `Tries a store from end to end (connection, versions, pooler, standby, rights, clocks, a real lock) and says what is promised there. Exit status ${exits.unsafe.status} if something is not safe, ${exits.store.status} if the store could not be asked.`,
    [{ says: 'Before you trust it', types: 'solorun doctor --store postgres://db.internal/app' }],
    [storeOption(), namespaceOption(), new Option('--lease <time>', 'as for run').default('60s'), jsonOption()],
  );
  add(
    'explain',
    '[options]',
    'Says what is promised with this store and these options, by which clock, how fast others take over, and what would break it. See docs/guarantees.md.',
    [{ says: 'For a lease of ten seconds', types: 'solorun explain --store redis://cache --lease 10s' }],
    [storeOption(), namespaceOption(), new Option('--lease <time>', 'as for run').default('60s'), jsonOption()],
  );

  const table = Object.values(exits).map(({ status, meaning }) => `  ${String(status).padStart(3)}  ${meaning}`);
  program.addHelpText('after', `\nExit status: the command's own, 128+n if signal n ended it, or\n${table.join('\n')}\n`);
  return program;
}
