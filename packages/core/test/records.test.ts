import { afterEach, describe, expect, it } from 'vitest';
import { createSolo, type Solo } from '../src/index.ts';
import { memory } from '../src/memory.ts';

const HOUR_MS = 3_600_000;

let solo: Solo | undefined;
afterEach(() => solo?.close());

describe('a pause until an instant', () => {
  it('is refused where that has passed by the clock of the store', async () => {
    solo = createSolo({ provider: memory({ now: () => Date.now() + 2 * HOUR_MS }) });
    const until = new Date(Date.now() + HOUR_MS);
    await expect(solo.pause('job', { until })).rejects.toThrow(/"job".* is over already, by the clock of the store/);
    expect(await solo.run('job', () => 'ran')).toMatchObject({ value: 'ran' });
  });

  it('is refused where that has passed by the clock of this machine', async () => {
    solo = createSolo({ provider: memory() });
    await expect(solo.pause('job', { until: new Date(Date.now() - 1) })).rejects.toThrow(/would be over already/);
  });
});
