import { Command } from 'commander';
import { exits } from './exit.ts';
import type { CommandPage, Page, Verb } from './pages/page.ts';
import { checkPage } from './pages/check.ts';
import { pausePage, prunePage, rerunPage, resumePage } from './pages/operate.ts';
import { doctorPage, explainPage } from './pages/promises.ts';
import { historyPage, inspectPage, listPage, releasePage, statusPage } from './pages/records.ts';
import { runPage } from './pages/run.ts';

/*
 * --help, whose words also make the man pages. Nothing is imported here but the parser: the code of a command is loaded when that command
 * is used.
 */

/** For the man pages. */
export const pages: WeakMap<Command, Page> = new WeakMap();

/** The command line, taken apart; its values are still as they were written. */
export interface Asked {
  readonly verb: Verb;
  readonly name: string | undefined;
  /** Of a command that takes any number of them. */
  readonly names: readonly string[];
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
}

const solorunPage: Page = {
  about:
    'Runs any command once, however many machines start it: only while it holds a lock, and, with a schedule, once per scheduled time. A scheduled time, such as 03:00 of one night, is called an occurrence.',
  examples: [
    {
      says: 'One backup at a time on this machine; a second one is skipped',
      types: 'solorun run backup -- pg_dump -f backup.sql app',
    },
    {
      says: 'The same crontab line on twenty hosts, one run each night',
      types: "0 3 * * * solorun run etl --once-per '0 3 * * *' --timezone UTC --quiet -- /opt/etl/run",
    },
    { says: 'Who holds what, and how the last runs went', types: 'solorun status' },
    { says: 'Nothing starts for two hours, on any machine', types: "solorun pause etl --for 2h --note 'disk is replaced'" },
    { says: 'An alarm when a job is late, for a monitor', types: 'solorun check --late 15m' },
    { says: 'Whether this store can be trusted', types: 'solorun doctor --store postgres://db.internal/app' },
  ],
};

const commandPages: readonly CommandPage[] = [
  runPage,
  statusPage,
  checkPage,
  listPage,
  inspectPage,
  historyPage,
  pausePage,
  resumePage,
  rerunPage,
  releasePage,
  prunePage,
  doctorPage,
  explainPage,
];

export function createProgram(version: string, asked: (what: Asked) => void): Command {
  const program = new Command('solorun')
    .version(version, '-V, --version', 'the version')
    .helpOption('-h, --help', 'this page; also: solorun run --help')
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .configureHelp({ helpWidth: 100, showGlobalOptions: false });
  describe(program, solorunPage);
  for (const page of commandPages) addCommand(program, page, asked);
  const table = Object.values(exits).map(({ status, meaning }) => `  ${String(status).padStart(3)}  ${meaning}`);
  program.addHelpText('after', `\nExit status: the command's own, 128+n if signal n ended it, or\n${table.join('\n')}\n`);
  return program;
}

function addCommand(program: Command, page: CommandPage, asked: (what: Asked) => void): void {
  const { verb, usage, about, argument, options } = page;
  const command = program.command(verb).helpOption('-h, --help', 'this page').allowExcessArguments(false);
  describe(command, page)
    .usage(usage)
    .summary(about.split(/[.:](?: |$)/, 1)[0]!);
  for (const option of options) command.addOption(option);
  if (argument !== undefined) command.argument(...argument);
  command.action(() => {
    const [given] = command.processedArgs as [string | readonly string[] | undefined];
    const names = typeof given === 'string' ? [given] : (given ?? []);
    asked({ verb, name: names[0], names, options: command.opts() });
  });
}

function describe(command: Command, { about, examples }: Page): Command {
  pages.set(command, { about, examples });
  const shown = examples.map(({ says, types }) => `  # ${says}\n  ${types.replaceAll('\n', '\n  ')}`).join('\n\n');
  return command.description(about).addHelpText('after', `\nExamples:\n${shown}\n`);
}
