import type { Command, Option } from 'commander';
import { exits } from './exit.ts';
import { createProgram, pages } from './program.ts';
import { help as withlockHelp } from './withlock.ts';

/** solorun(1), in the language of man(7). Its words are those of --help. */
export function solorunManual(version: string): string {
  const program = createProgram(version, () => {});
  const about = program.description();
  return page([
    title('solorun', version),
    section('NAME'),
    `solorun \\- ${text('run any command once, however many machines start it')}`,
    section('SYNOPSIS'),
    ...program.commands.map((command) => `.B solorun ${command.name()}\n${text(command.usage())}\n.br`),
    section('DESCRIPTION'),
    text(about),
    ...program.commands.flatMap(commandSection),
    section('EXIT STATUS'),
    text("The command's own; 128+n if signal n ended it; or one of these, which are kept over versions:"),
    ...Object.values(exits).map(({ status, meaning }) => item(String(status), meaning)),
    section('ENVIRONMENT'),
    item('SOLORUN_STORE', 'the store, where --store is not given. Other users cannot read it, so a password may stand there.'),
    item('SOLORUN_NAMESPACE', 'the namespace, where --namespace is not given.'),
    item('SOLORUN_PING_URL', 'the URL of a monitor, where --ping is not given. The command does not inherit it.'),
    item('PGPASSWORD, PGPASSFILE', 'the password for a Postgres, as for psql(1); by default it is looked up in ~/.pgpass.'),
    item(
      'SOLORUN_NAME, SOLORUN_FENCE, SOLORUN_ATTEMPT',
      'are set for the command: the name, the fencing token, and the number of the attempt (1, 2, …).',
    ),
    item(
      'SOLORUN_OCCURRENCE',
      'is set for the command where there is a schedule: the scheduled time that it runs for, in UTC (ISO 8601).',
    ),
    item('SOLORUN_RUN', 'is set for the command. All that the command starts is recognised by it.'),
    section('EXAMPLES'),
    ...examplesOf(program),
    section('SEE ALSO'),
    '.BR withlock (1),\n.BR flock (1),\n.BR crontab (5),\n.BR systemd.timer (5)',
  ]);
}

/** withlock(1). */
export function withlockManual(version: string): string {
  const [usage = '', ...rest] = withlockHelp.trimEnd().split('\n\n');
  return page([
    title('withlock', version),
    section('NAME'),
    `withlock \\- ${text('run a command while holding a lock in Postgres')}`,
    section('SYNOPSIS'),
    text(usage.replace('Usage: ', '')),
    section('DESCRIPTION'),
    ...rest.map((paragraph) => (/^(?: {2}|Examples:)/.test(paragraph) ? literal(paragraph) : `.PP\n${text(paragraph)}`)),
    section('SEE ALSO'),
    '.BR solorun (1)',
  ]);
}

function commandSection(command: Command): string[] {
  const shown = command.options.filter(({ hidden }) => !hidden);
  return [
    `.SS solorun ${command.name()} ${text(command.usage())}`,
    text(command.description()),
    ...shown.map((option) => item(option.flags, describe(option))),
    ...examplesOf(command),
  ];
}

function describe({ description, argChoices, defaultValue, envVar }: Option): string {
  const about = [
    ...(argChoices === undefined ? [] : [`one of ${argChoices.join(', ')}`]),
    ...(typeof defaultValue === 'string' ? [`default: ${defaultValue}`] : []),
    ...(envVar === undefined ? [] : [`environment: ${envVar}`]),
  ];
  return about.length === 0 ? description : `${description} (${about.join('; ')})`;
}

function examplesOf(command: Command): string[] {
  return (pages.get(command)?.examples ?? []).flatMap(({ says, types }) => [`.PP\n${text(says)}:`, literal(types)]);
}

function title(name: string, version: string): string {
  return `.TH ${name.toUpperCase()} 1 "" "solorun ${version}" "User commands"`;
}

function section(name: string): string {
  return `.SH ${name}`;
}

function item(term: string, meaning: string): string {
  return `.TP\n.B ${text(term)}\n${text(meaning)}`;
}

function literal(lines: string): string {
  return `.PP\n.nf\n.RS 4\n${text(lines)}\n.RE\n.fi`;
}

/** Escapes words that man(7) would take for instructions. */
function text(words: string): string {
  return words
    .replaceAll('\\', String.raw`\e`)
    .replaceAll('-', String.raw`\-`)
    .replaceAll('…', '...')
    .replaceAll(/^(?=[.'])/gm, String.raw`\&`);
}

function page(parts: readonly string[]): string {
  return `.\\" Made by packages/cli/scripts/man.js from what --help shows.\n${parts.join('\n')}\n`;
}
