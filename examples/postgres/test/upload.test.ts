import { expect, it } from 'vitest';
import { play } from '../src/demo/upload.js';
import { hasPostgres, played } from './demo.ts';

it.runIf(hasPostgres)(
  'uploads of one group never interleave, others go on beside them, and one that was frozen cannot write any more',
  { timeout: 120_000 },
  async () => {
    const { counts, broken, story } = await played(play);
    expect(broken, story).toEqual([]);
    expect(counts).toMatchObject({
      'uploads of different groups in their middle at once': 2,
      'stale uploads that say they were done': 0,
      'addresses missing, or of the stale list': 0,
    });
    expect(story).toMatch(/board-monday │ failed: /);
  },
);
