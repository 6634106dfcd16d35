import fc from 'fast-check';
import { it } from 'vitest';
import { Generations } from '../src/generations.ts';
import { simulate } from './simulation.ts';
const disk = { kernel: true, resurrects: false, tornListings: false, granularityMs: 10, operators: true };
it('replays', { timeout: 600_000 }, async () => {
  const place = process.env['SLOW'] ? { ...disk, slow: true } : disk;
  const property = fc.asyncProperty(fc.scheduler(), fc.infiniteStream(fc.nat(999)), async (scheduler, chances) => {
    const draw = (): number => chances.next().value as number;
    await simulate({ ...place, scheduler, draw, Generations, log: (globalThis as any).simlog } as never, { grants: 0, takeovers: 0, forgotten: 0, pauses: 0 });
  });
  const r = await fc.check(property, { seed: Number(process.env['SEED']), path: process.env['PATHX']!, numRuns: 1, endOnFailure: true });
  console.log(r.failed, String(r.errorInstance));
});
