import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  casesOf,
  done,
  failed,
  instant,
  mustAcquire,
  mustRefuse,
  newName,
  recorded,
  renew,
  settled,
  takeOver,
  type ContractCase,
  type ContractOptions,
  type Fleet,
} from './harness.ts';

/** A lease is ended by its own holder alone. */
export function ownershipCases(options: ContractOptions): ContractCase[] {
  const promise = casesOf(options, 'G6');

  return [
    promise('renews for the owner alone', async ({ open, leaseMs }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      const grant = await mustAcquire(a, name, { leaseMs: a.guarantees.expiry ? leaseMs * 4 : null });
      const forged = { ...grant, owner: randomUUID(), fence: grant.fence + 1n };
      assert.notEqual(await settled(renew(b, forged)), true, 'a renewal by somebody else is not confirmed');
      assert.equal(await renew(a, grant), true);
    }),

    promise('does not release for somebody else', async ({ open }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      const grant = await mustAcquire(a, name);
      const forged = { ...grant, owner: randomUUID(), fence: grant.fence + 1n };
      assert.notEqual(await settled(done(b, forged)), true, 'a release by somebody else is not confirmed');
      await mustRefuse(b, name, 'held');
      assert.equal(await done(a, grant), true);
    }),

    promise("does not let an expired holder release its successor's lease", async (fleet) => {
      const [a, b] = [await fleet.open(), await fleet.open()];
      if (!a.guarantees.expiry) return;
      const name = newName();
      const stale = await mustAcquire(a, name, { leaseMs: fleet.leaseMs });
      await takeOver(fleet, b, name);
      assert.equal(await done(a, stale), false, 'the release is refused');
      await mustRefuse(a, name, 'held');
    }),

    promise('releases by what the record tells, for an operator, and the holder learns of it', releasesByRecord),

    promise('takes a second release quietly, and for no other lease than its own', async ({ open, pass }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      const first = await mustAcquire(a, name);
      assert.equal(await done(a, first), true);
      await done(a, first);
      await mustAcquire(b, name);
      await recorded({ pass }, b);
      assert.equal(await done(a, first), false);
      await mustRefuse(a, name, 'held');
    }),

    promise('does not renew what was released, nor change how it ended', async ({ open }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      const grant = await mustAcquire(a, name, a.guarantees.occurrences ? { occurrence: { at: instant(5), attempts: 2 } } : {});
      await done(a, grant);
      assert.notEqual(await settled(renew(a, grant)), true, 'a released lease is not renewed');
      if (!a.guarantees.occurrences) return;
      await failed(a, grant);
      assert.equal((await b.inspect(name))?.held, false);
      assert.equal((await b.inspect(name))?.occurrence?.state, 'done');
    }),
  ];
}

/** An operator has the record alone. */
async function releasesByRecord({ open, pass }: Fleet): Promise<void> {
  const [a, b] = [await open(), await open()];
  if (!a.guarantees.occurrences) return;
  const name = newName();
  const grant = await mustAcquire(a, name);
  await recorded({ pass }, a);
  const record = await b.inspect(name);
  assert(record !== undefined);
  const { owner, fence } = record;
  const never = new AbortController().signal;
  const outcome = { result: 'failed', error: 'released by an operator' } as const;
  assert.equal(await b.release({ name, owner, fence, attempt: 1 }, outcome, never), true);
  assert.equal((await b.inspect(name))?.lastError, outcome.error);
  assert.equal(await renew(a, grant), false, 'the holder is told');
  await mustAcquire(b, name);
}
