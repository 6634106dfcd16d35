import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Generations } from '../src/generations.ts';
import { mutants } from './mutants.ts';
import { simulate, Violation, type Sightings, type World } from './simulation.ts';

/** Enough for a minute, all in all; `SOLORUN_SIMULATIONS=20000` explores for longer. */
const RUNS = Number(process.env['SOLORUN_SIMULATIONS'] ?? 250);
/** With `SOLORUN_SIMULATIONS`, also mutants that are caught in minutes, or not each time: two processes must come at the worst moments. */
const isLong = process.env['SOLORUN_SIMULATIONS'] !== undefined;
const MUTANT_RUNS = Math.max(10_000, RUNS);

type Place = Omit<World, 'scheduler' | 'draw' | 'Generations'>;

const disk: Place = { kernel: true, resurrects: false, tornListings: false, granularityMs: 10 };
const unlikeLeases: Place = { ...disk, leases: [200, 60, 200] };
const slowDisk: Place = { ...disk, slow: true };
const tornDisk: Place = { ...disk, tornListings: true };
const objectStore: Place = { kernel: false, resurrects: true, tornListings: false, granularityMs: 10 };
const operatedDisk: Place = { ...disk, operators: true };
const operatedTornDisk: Place = { ...tornDisk, operators: true };
const operatedSlowDisk: Place = { ...slowDisk, operators: true };
const operatedStore: Place = { ...objectStore, operators: true };
const coarseStore: Place = { ...objectStore, granularityMs: 200 };

async function explore(
  create: typeof Generations,
  place: Place,
  runs: number,
): Promise<fc.RunDetails<[fc.Scheduler, fc.Stream<number>]> & Sightings> {
  const sightings: Sightings = { grants: 0, takeovers: 0, forgotten: 0, pauses: 0 };
  const property = fc.asyncProperty(fc.scheduler(), fc.infiniteStream(fc.nat(999)), async (scheduler, chances) => {
    const draw = (): number => chances.next().value as number;
    await simulate({ ...place, scheduler, draw, Generations: create }, sightings);
  });
  return { ...(await fc.check(property, { numRuns: runs, endOnFailure: true })), ...sightings };
}

describe('the generations algorithm, under random interleavings, pauses and crashes', () => {
  const places: [string, Place][] = [
    ['a local disk', disk],
    ['a local disk, with leases of different lengths', unlikeLeases],
    ['a slow disk, to which all is flushed', slowDisk],
    ['a disk whose listings are not atomic', tornDisk],
    ['an object store', objectStore],
    ['a store whose times are coarse', coarseStore],
    ['a disk whose locks are forgotten and paused', operatedDisk],
    ['a disk whose listings are not atomic, and whose locks are forgotten and paused', operatedTornDisk],
    ['a slow disk whose locks are forgotten and paused', operatedSlowDisk],
    ['an object store whose locks are forgotten and paused', operatedStore],
  ];
  for (const [says, place] of places) {
    it(`keeps its promises on ${says}`, { timeout: 300_000 + RUNS * 100 }, async ({ annotate }) => {
      const seen = await explore(Generations, place, RUNS);
      await annotate(`${says}: ${seen.grants} acquisitions, ${seen.takeovers} of them takeovers`);
      expect(seen.failed, `${String(seen.errorInstance)} (seed ${seen.seed}, path ${seen.counterexamplePath})`).toBe(false);
      // An exploration in which nobody ever took over has shown nothing.
      expect(seen.grants).toBeGreaterThan(RUNS * 2);
      expect(seen.takeovers).toBeGreaterThan(RUNS / 4);
    });
  }

  const suitable: Record<string, Place> = {
    'no-allowance': coarseStore,
    'reads-before-now': objectStore,
    'withdraws-unseen': slowDisk,
    'removes-when-unsure': slowDisk,
    'follows-a-broken-row': operatedDisk,
    'forgets-without-closing': operatedDisk,
    'forgets-without-floor': operatedDisk,
    'no-look-at-the-base': operatedDisk,
    'no-second-look-at-the-floor': operatedDisk,
    'starts-beside-others': operatedDisk,
    'follows-what-is-unproven': operatedSlowDisk,
    'no-second-look-at-pauses': operatedDisk,
    'sweeps-what-is-new': operatedDisk,
    'renews-whatever-stands-above': { ...objectStore, trust: 'extends after the deadline' },
  };
  const rare = new Set([
    'removes-when-unsure',
    'loose-occurrence',
    'follows-a-broken-row',
    'follows-what-is-unproven',
    'no-look-at-the-base',
    'starts-beside-others',
  ]);
  for (const [name, { says }] of Object.entries(mutants)) {
    if (rare.has(name) && !isLong) continue;
    it(`catches a mutant that ${says}`, { timeout: 300_000 }, async () => {
      const path = `../src/generations.ts?mutant=${name}`;
      const mutant = (await import(/* @vite-ignore */ path)) as { Generations: typeof Generations };
      const seen = await explore(mutant.Generations, suitable[name] ?? disk, MUTANT_RUNS);
      expect(seen.errorInstance).toBeInstanceOf(Violation);
    });
  }

  it("catches a holder that counts its trust from the provider's answer", { timeout: 300_000 }, async () => {
    const seen = await explore(Generations, { ...disk, trust: 'from the response' }, MUTANT_RUNS);
    expect(seen.errorInstance).toBeInstanceOf(Violation);
  });
});
