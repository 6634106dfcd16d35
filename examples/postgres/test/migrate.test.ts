import { expect, it } from 'vitest';
import { play } from '../src/demo/migrate.js';
import { hasPostgres, played } from './demo.ts';

it.runIf(hasPostgres)(
  'five replicas apply each migration once, though one is killed in the middle, and serve when all is done',
  { timeout: 120_000 },
  async () => {
    const { counts, broken, story } = await played(play);
    expect(broken, story).toEqual([]);
    expect(counts).toMatchObject({ 'migrations applied': 3, 'replicas that served before': 0 });
    // The second one was begun again, as what the killed one had done of it was rolled back.
    expect(story.match(/applying 002-open-balances\.sql/g)).toHaveLength(2);
    expect(story.match(/applied 002-open-balances\.sql/g)).toHaveLength(1);
    expect(story.match(/waiting for process \d+ on /g)?.length).toBeGreaterThanOrEqual(4);
  },
);
