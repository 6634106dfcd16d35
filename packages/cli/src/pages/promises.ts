import { Option } from 'commander';
import { exits } from '../exit.ts';
import { jsonOption, namespaceOption, storeOption, type CommandPage } from './page.ts';

const leaseOption = (): Option => new Option('--lease <time>', 'as for run').default('60s');

export const doctorPage: CommandPage = {
  verb: 'doctor',
  usage: '[options]',
  about: `Tries a store from end to end, and says whether it is fine for one machine or for many. It checks connection, versions, pooler, standby, rights and clocks, and takes a real lock. Exit status ${exits.unsafe.status} if something is not safe, ${exits.store.status} if the store could not be asked.`,
  examples: [
    { says: 'Before you trust it', types: 'solorun doctor --store postgres://db.internal/app' },
    { says: 'With the table of guarantees', types: 'solorun doctor --verbose --store redis://cache' },
  ],
  options: [
    storeOption(),
    namespaceOption(),
    leaseOption(),
    jsonOption(),
    new Option('-v, --verbose', 'also print the table of guarantees, as explain does'),
  ],
};

export const explainPage: CommandPage = {
  verb: 'explain',
  usage: '[options]',
  about:
    'Says what this store is fine for with these options: one machine or many, how fast others take over, and what would break it. See docs/guarantees.md.',
  examples: [
    { says: 'For a lease of ten seconds', types: 'solorun explain --store redis://cache --lease 10s' },
    { says: 'With the table of guarantees', types: 'solorun explain --verbose --store redis://cache' },
  ],
  options: [
    storeOption(),
    namespaceOption(),
    leaseOption(),
    jsonOption(),
    new Option('-v, --verbose', 'also print the table of guarantees'),
  ],
};
