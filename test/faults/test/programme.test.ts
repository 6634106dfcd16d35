import { postgresMissing } from '@solorun/servers/postgres';
import { describe, it } from 'vitest';
import { shortProgramme } from '../src/programme.js';
import { nameOf } from '../src/report.js';
import { playRound, roundMissing } from '../src/round.js';

/** Long enough for some faults of each kind; the rest of a round is over when the fleet is at work again. */
const SECONDS = 4;
const inCi = process.env['CI'] === 'true';

describe.concurrent('no promise is broken', () => {
  for (const [index, play] of shortProgramme.entries()) {
    const seed = index + 1;
    const missing = inCi ? undefined : (postgresMissing() ?? roundMissing(play));
    const skipped = missing === undefined ? '' : `: SKIPPED: ${missing}`;
    it.skipIf(missing !== undefined)(`by ${nameOf(play)} --seed ${seed}${skipped}`, { timeout: 300_000 }, async ({ expect }) => {
      const { figures, violations } = await playRound({ ...play, seconds: SECONDS, seed });
      expect(violations).toEqual([]);
      expect(figures.ran).toBeGreaterThan(0);
      expect(figures.faults > 0).toBe(play.nemeses.length > 0);
    });
  }
});
