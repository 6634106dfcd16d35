import { expect, it } from 'vitest';
import { play } from '../src/demo/clock.js';
import { hasPostgres, played } from './demo.ts';

it.runIf(hasPostgres)(
  'a clock that was scaled up enqueues each tick once, though its leader is killed and the next one frozen',
  { timeout: 120_000 },
  async () => {
    const { counts, broken, story } = await played(play);
    expect(broken, story).toEqual([]);
    expect(counts).toMatchObject({ 'of them a second time': 0, 'seconds without a tick': 0, 'leaders at once': 1 });
    expect(story).toMatch(/wakes up \(SIGCONT\)\.\n.*not the leader any more: LeaseLostError/);
  },
);
