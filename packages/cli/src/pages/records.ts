import { Option } from 'commander';
import { exits } from '../exit.ts';
import { jsonOption, namespaceOption, storeOption, type CommandPage } from './page.ts';

export const statusPage: CommandPage = {
  verb: 'status',
  usage: '[options]',
  about:
    'Shows every lock: its holder and for how long, when its run last succeeded, when it is due next, and until when it is paused.',
  examples: [
    { says: 'A table', types: 'solorun status' },
    {
      says: 'Jobs without a success today',
      types: `solorun status --json | jq -r '.[] | select(.lastSuccessAt < (now - 86400 | todate)) | .name'`,
    },
  ],
  options: [storeOption(), namespaceOption(), jsonOption()],
};

export const listPage: CommandPage = {
  verb: 'list',
  usage: '[options]',
  about: 'Prints the names of all locks, one a line.',
  examples: [{ says: 'All that are held', types: 'solorun list --held' }],
  options: [storeOption(), namespaceOption(), new Option('--held', 'only names that are held now'), jsonOption()],
};

export const inspectPage: CommandPage = {
  verb: 'inspect',
  usage: '<name> [options]',
  about: `Shows all that the store knows of one lock. Exit status ${exits.unsafe.status} if it knows nothing.`,
  argument: ['<name>', 'of the lock'],
  examples: [{ says: 'Who holds the lock, and its fence', types: 'solorun inspect billing' }],
  options: [storeOption(), namespaceOption(), jsonOption()],
};

export const historyPage: CommandPage = {
  verb: 'history',
  usage: '<name> [options]',
  about: 'Shows the last 50 runs of a lock, the newest first: those with a schedule, and those that were started with --history.',
  argument: ['<name>', 'of the lock'],
  examples: [
    { says: 'How the last nights went', types: 'solorun history billing' },
    {
      says: 'The errors alone',
      types: `solorun history billing --json | jq -r '.[] | select(.outcome != "done") | .error'`,
    },
  ],
  options: [storeOption(), namespaceOption(), jsonOption()],
};

export const releasePage: CommandPage = {
  verb: 'release',
  usage: '<name> --fence <number> [options]',
  about:
    'Frees a lock that its holder does not release. The fence, which inspect shows, makes sure that it is the lock that you saw there. A holder that still runs learns of it at its next renewal, and until then two may run: end it first if you can.',
  argument: ['<name>', 'of the lock'],
  examples: [{ says: 'After looking', types: 'solorun inspect billing\nsolorun release billing --fence 41' }],
  options: [
    new Option('--fence <number>', 'as inspect shows it').makeOptionMandatory(),
    storeOption(),
    namespaceOption(),
    jsonOption(),
  ],
};
