import { Option } from 'commander';
import { exits } from '../exit.ts';
import { jsonOption, namespaceOption, prefixOption, storeOption, type CommandPage } from './page.ts';

export const checkPage: CommandPage = {
  verb: 'check',
  usage: '[name…] [options]',
  about: `Tells whether each job is well, a line each, for monitors: not late, not failed, not silent. Exit status 0 if all are, ${exits.unsafe.status} if some are not, ${exits.store.status} if the store cannot be asked. A paused job is well.`,
  argument: ['[names...]', 'of locks (default: all of them)'],
  examples: [
    {
      says: 'An alarm from cron, by mail: nothing is printed while all is well',
      types: 'solorun check --late 15m --quiet',
    },
    { says: 'A backup that must succeed each day', types: 'solorun check backup --max-age 26h --max-run 2h' },
    { says: 'As a plugin of Nagios or Icinga', types: 'solorun check --late 15m --nagios' },
  ],
  options: [
    new Option(
      '--late <time>',
      'a job may be so long overdue. Its record tells when it is due, where its schedule is known to solorun (default: 1m)',
    ),
    new Option('--max-age <time>', 'its last success may be so long ago'),
    new Option('--allow-new <time>', 'a job without a success yet may be known for so long (default: as --max-age)'),
    new Option('--max-run <time>', 'one run may take so long'),
    prefixOption(),
    new Option('-q, --quiet', 'print only what is not well').conflicts('nagios'),
    new Option('--nagios', 'a line with figures and the exit status of a plugin: 0 ok, 1 paused, 2 not well, 3 unknown').conflicts(
      'json',
    ),
    storeOption(),
    namespaceOption(),
    jsonOption(),
  ],
};
