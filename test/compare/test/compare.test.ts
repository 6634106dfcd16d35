import { redisMissing } from '@solorun/servers/redis';
import { expect, it } from 'vitest';
import { columns } from '../src/columns.js';
import { compare } from '../src/compare.js';
import { better, verdictsOf } from '../src/page.js';
import type { ContenderName } from '../src/contenders.js';

const missing = redisMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: the comparison. ${missing}\n`);

it.skipIf(missing !== undefined && process.env['CI'] !== 'true')(
  'finds that a naive lock runs ticks twice and lets a woken holder act beside its successor, and that Solorun does neither',
  { timeout: 300_000 },
  async () => {
    const effort = { leaseMs: 2_000, patienceMs: 20_000, ticks: 4, skewedTicks: 0 };
    const figures = await compare(['naive', 'solorun-lockfile'], ['late', 'pause'], effort, () => {});
    const verdicts = verdictsOf(figures, effort);
    const said = (name: ContenderName): (string | undefined)[] =>
      columns.filter(({ scenario }) => ['late', 'pause'].includes(scenario)).map((column) => verdicts.get(name)?.get(column));
    expect(said('naive')).toEqual(['nearly every tick', 'within the lease', 'yes']);
    expect(said('solorun-lockfile')).toEqual(['none', 'within the lease', 'no']);
  },
);

it('says where another one is better, and only there', () => {
  const [late, , kill] = columns;
  const words = (twice: string, killed: string): ReadonlyMap<(typeof columns)[number], string> =>
    new Map([
      [late!, twice],
      [kill!, killed],
    ]);
  const sentences = better(
    new Map([
      ['advisory-lock', words('nearly every tick', 'at once')],
      ['solorun-advisory', words('none', 'within the lease')],
    ]),
  );
  expect(sentences).toEqual([expect.stringContaining('holder killed: the next one starts:** advisory-lock: *at once*')]);
  expect(better(new Map([['solorun-advisory', words('none', 'at once')]]))).toEqual(['Nowhere in these columns.']);
});
