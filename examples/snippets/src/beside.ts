import { readFileSync, writeFileSync } from 'node:fs';
import { createSolo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';

const solo = createSolo({ provider: lockfile.beside('accounts.json') });

await solo.run(
  'accounts',
  () => {
    const accounts = JSON.parse(readFileSync('accounts.json', 'utf8'));
    writeFileSync('accounts.json', JSON.stringify({ ...accounts, ada: (accounts.ada ?? 0) + 1 }));
  },
  { onBusy: 'wait', waitMs: 10_000 },
);
