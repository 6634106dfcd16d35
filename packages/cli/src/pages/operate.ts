import { Option } from 'commander';
import { exits } from '../exit.ts';
import { jsonOption, namespaceOption, prefixOption, storeOption, type CommandPage } from './page.ts';

export const pausePage: CommandPage = {
  verb: 'pause',
  usage: '<name…> [options]',
  about:
    'Pauses locks on all machines: no run of them is started until the pause ends, while a run in progress goes on. A pause always ends: after an hour, unless you say something else.',
  argument: ['[names...]', 'of locks; they need never have been locked'],
  examples: [
    { says: 'While a disk is replaced', types: "solorun pause backup etl --for 2h --note 'disk is replaced'" },
    { says: 'What is paused, until when, by whom and why', types: 'solorun pause --list' },
  ],
  options: [
    new Option('--for <time>', 'how long, 30d at most (default: 1h)').conflicts('until'),
    new Option('--until <instant>', 'when it ends, for example 2026-12-24T06:00Z; without a zone it is local time'),
    new Option('--note <text>', 'why, for others to read'),
    prefixOption(),
    new Option('--list', 'show the pauses in force').conflicts(['for', 'until', 'note']),
    storeOption(),
    namespaceOption(),
    jsonOption(),
  ],
};

export const resumePage: CommandPage = {
  verb: 'resume',
  usage: '<name…> [options]',
  about: `Ends pauses. Exit status ${exits.unsafe.status} if one of the names was not paused.`,
  argument: ['[names...]', 'of locks'],
  examples: [{ says: 'All that is paused', types: "solorun resume --prefix ''" }],
  options: [prefixOption(), storeOption(), namespaceOption(), jsonOption()],
};

export const rerunPage: CommandPage = {
  verb: 'rerun',
  usage: '<name> [options]',
  about: `Opens the last scheduled time of a lock for one more run, whatever became of it. It starts nothing itself: the next process that asks for that time runs it, as solorun run does with the same schedule until a later time comes, and schedule() with catchUp within a minute. Exit status ${exits.unsafe.status} if there is none, or it runs now.`,
  argument: ['<name>', 'of the lock'],
  examples: [
    {
      says: 'A second chance for the billing run of this night',
      types: "solorun rerun billing\nsolorun run billing --once-per '0 3 * * *' --timezone UTC -- ./bill",
    },
  ],
  options: [storeOption(), namespaceOption(), jsonOption()],
};

export const prunePage: CommandPage = {
  verb: 'prune',
  usage: '--older-than <time> [options]',
  about:
    'Removes the records of locks that are free, not paused, and were not used for some time. Later fences of such a lock are greater than those before. A scheduled time that is asked for again after that may run again.',
  examples: [
    { says: 'What would go', types: 'solorun prune --older-than 30d --prefix job/ --dry-run' },
    { says: 'From cron, where no program of yours does it', types: 'solorun prune --older-than 90d' },
  ],
  options: [
    new Option('--older-than <time>', 'how long a lock was not used; 0s for all that are free').makeOptionMandatory(),
    prefixOption(),
    new Option('--dry-run', 'remove nothing, and print the names'),
    storeOption(),
    namespaceOption(),
    jsonOption(),
  ],
};
