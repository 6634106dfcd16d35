import { expect, it } from 'vitest';
import { play } from '../src/demo/backup.js';
import { hasPostgres, played } from './demo.ts';

it.runIf(hasPostgres)(
  'three replicas back each tick up once, and finish that of one that was killed in the middle',
  { timeout: 120_000 },
  async () => {
    const { counts, broken, story } = await played(play);
    expect(broken, story).toEqual([]);
    expect(counts).toMatchObject({ 'ticks that were backed up a second time': 0, 'backups kept': 5 });
    expect(story).toMatch(/backing up .+, attempt 2, fence \d+\n/);
  },
);
