// @ts-check
// Writes the pages of the manual: npm run man -w @solorun/cli, after npm run build.

import { readFileSync, writeFileSync } from 'node:fs';
import { solorunManual, withlockManual } from '../dist/man.js';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
writeFileSync(new URL('../man/solorun.1', import.meta.url), solorunManual(version));
writeFileSync(new URL('../man/withlock.1', import.meta.url), withlockManual(version));
