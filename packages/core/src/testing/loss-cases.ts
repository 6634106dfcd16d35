import assert from 'node:assert/strict';
import {
  casesOf,
  mustAcquire,
  newName,
  renew,
  request,
  takeOver,
  tryIt,
  type ContractCase,
  type ContractOptions,
} from './harness.ts';

/** A holder learns that its lease is lost. */
export function lossCases(options: ContractOptions): ContractCase[] {
  const promise = casesOf(options, 'G2');

  return [
    promise('does not renew a lease that somebody else has taken over', async (fleet) => {
      const [a, b] = [await fleet.open(), await fleet.open()];
      if (!a.guarantees.expiry) return;
      const name = newName();
      const stale = await mustAcquire(a, name, { leaseMs: fleet.leaseMs });
      const fresh = await takeOver(fleet, b, name);
      assert.equal(await renew(a, stale), false, 'the taken lease is not renewed');
      assert.equal(await renew(b, fresh), true, 'the new one is');
    }),

    promise('does not renew a lease whose time is over, also if nobody has followed', async (fleet) => {
      const [a, b] = [await fleet.open(), await fleet.open()];
      // A lease that the holder ends itself is given back, and so is not its own any more.
      if (!a.guarantees.expiry) return;
      const name = newName();
      const stale = await mustAcquire(a, name, { leaseMs: fleet.leaseMs });
      await fleet.pass(fleet.leaseMs * 1.5 + 50);
      assert.equal(await renew(a, stale), false, 'an expired lease is not renewed');
      await mustAcquire(b, name, { leaseMs: fleet.leaseMs });
    }),

    promise('tells whoever holds a lease when closing the provider frees it', async ({ open }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      const grant = await mustAcquire(a, name);
      await a.close();
      const next = await tryIt(b, request(name));
      if (next.acquired) assert.equal(grant.lost?.aborted, true, 'the holder of the freed lease is told');
    }),
  ];
}
