import assert from 'node:assert/strict';
import { casesOf, done, mustAcquire, newName, takeOver, type ContractCase, type ContractOptions } from './harness.ts';

/** Fences grow. */
export function fenceCases(options: ContractOptions): ContractCase[] {
  const promise = casesOf(options, 'G3');

  return [
    promise('gives every acquisition of a name a greater fence, through releases and expiry', async (fleet) => {
      const replicas = [await fleet.open(), await fleet.open()];
      const name = newName();
      let last = -1n;
      const grows = (fence: bigint): void => {
        assert(fence > last, `fence ${fence} after ${last}`);
        last = fence;
      };
      for (let n = 0; n < 12; n += 1) {
        const replica = replicas[n % 2]!;
        const grant = await mustAcquire(replica, name);
        grows(grant.fence);
        await done(replica, grant);
      }
      if (!replicas[0]!.guarantees.expiry) return;
      grows((await mustAcquire(replicas[0]!, name, { leaseMs: fleet.leaseMs })).fence);
      grows((await takeOver(fleet, replicas[1]!, name)).fence);
    }),

    promise('goes on with its fences for a replica that opens the store anew', async ({ open }) => {
      const a = await open();
      if (a.guarantees.fence === 'process') return;
      const name = newName();
      const grant = await mustAcquire(a, name);
      await done(a, grant);
      await a.close();
      assert((await mustAcquire(await open(), name)).fence > grant.fence);
    }),
  ];
}
