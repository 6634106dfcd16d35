import { readFileSync } from 'node:fs';
import { postgresMissing } from '@solorun/servers/postgres';
import { describe, it } from 'vitest';
import { nemeses, nemesisNamed } from '../src/nemeses.js';
import { shortProgramme } from '../src/programme.js';
import { nameOf } from '../src/report.js';
import { playRound, roundMissing } from '../src/round.js';

/** Long enough for some faults of each kind; the rest of a round is over when the fleet is at work again. */
const SECONDS = 4;
const inCi = process.env['CI'] === 'true';

it('excuses nothing but by words of docs/guarantees.md', ({ expect }) => {
  const page = readFileSync(new URL('../../../docs/guarantees.md', import.meta.url), 'utf8').replaceAll(/\s+/g, ' ');
  const words = Object.keys(nemeses).flatMap((name) => nemesisNamed(name).excluded?.words ?? []);
  expect(words.length).toBeGreaterThan(4);
  expect(words.filter((each) => !page.includes(each))).toEqual([]);
});

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
