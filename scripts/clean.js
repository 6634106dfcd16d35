// @ts-check
// Removes what the compiler wrote. `tsc -b` leaves the output of deleted sources behind, so releases start from here.

import { readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

for (const name of readdirSync(join(root, 'packages'))) {
  for (const made of ['dist', '.turbo']) rmSync(join(root, 'packages', name, made), { recursive: true, force: true });
}
for (const made of ['.turbo', 'coverage']) rmSync(join(root, made), { recursive: true, force: true });
