import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { UnsupportedError } from '../errors.ts';
import {
  contractCase,
  done,
  failed,
  instant,
  LONG_MS,
  mustAcquire,
  mustRefuse,
  newName,
  renew,
  recorded,
  request,
  settled,
  takeOver,
  tryIt,
  within,
  type CaseBody,
  type ContractCase,
  type ContractOptions,
} from './harness.ts';

/** Exclusion, expiry, fences, and whose a lease is. */
export function leaseCases(options: ContractOptions): ContractCase[] {
  const promise = (guarantee: ContractCase['guarantee'], name: string, body: CaseBody): ContractCase =>
    contractCase(options, guarantee, name, body);

  return [
    promise('G1', 'grants a free name to whoever asks first, with its own owner and a fence', async ({ open }) => {
      const a = await open();
      const asked = request(newName());
      const result = await tryIt(a, asked);
      assert(result.acquired);
      assert.equal(result.grant.name, asked.name);
      assert.equal(result.grant.owner, asked.owner);
      assert.equal(typeof result.grant.fence, 'bigint');
      assert.equal(result.grant.attempt, 1);
      assert.notEqual(result.grant.lost?.aborted, true, 'a fresh lease is not lost');
    }),

    promise('G1', 'refuses a held name as a value that tells who holds it, and throws nothing', async ({ open }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      await mustAcquire(a, name);
      for (const other of [a, b]) {
        const refusal = await mustRefuse(other, name, 'held');
        assert.equal(refusal.holder?.host, 'contract.test');
        assert.equal(refusal.holder?.pid, 4711);
        assert.equal(refusal.holder?.label, 'case');
        assert(refusal.holder?.since instanceof Date);
      }
    }),

    promise('G1', 'grants one name to exactly one of many who ask at once', async ({ open }) => {
      const replicas = [await open(), await open(), await open()];
      const name = newName();
      const tries = Array.from({ length: 24 }, (_, n) => tryIt(replicas[n % replicas.length]!, request(name)));
      const granted = (await Promise.all(tries)).filter((result) => result.acquired);
      assert.equal(granted.length, 1, `${granted.length} of 24 hold the lock`);
    }),

    promise('G1', 'keeps a name apart from every other, whatever characters it is made of', async ({ open }) => {
      const a = await open();
      const names = hostileNames(randomUUID());
      for (const name of names) await mustAcquire(a, name);
      for (const name of names) {
        await mustRefuse(a, name, 'held');
        if (a.guarantees.occurrences) assert.equal((await a.inspect(name))?.name, name);
      }
    }),

    promise('G1', 'keeps a renewed lease beyond its first end', async ({ open, leaseMs, pass }) => {
      const [a, b] = [await open(), await open()];
      if (!a.guarantees.expiry) return;
      /** False: the tests themselves stood still for longer than a lease, which says nothing of the provider. */
      const isKept = async (): Promise<boolean> => {
        const name = newName();
        let renewedAt = performance.now();
        const grant = await mustAcquire(a, name, { leaseMs });
        const isLate = (): boolean => performance.now() >= renewedAt + leaseMs;
        for (let n = 0; n < 9; n += 1) {
          await pass(leaseMs / 3);
          const askedAt = performance.now();
          const renewed = await renew(a, grant);
          if (isLate()) return false;
          assert.equal(renewed, true, 'a lease that is renewed in time is renewed');
          renewedAt = askedAt;
          const result = await tryIt(b, request(name));
          if (isLate()) return false;
          assert(!result.acquired && result.reason === 'held', 'a renewed lease is held');
        }
        return true;
      };
      for (let tries = 0; !(await isKept()); tries += 1) assert(tries < 20, 'the tests stand still all the time');
    }),

    promise('G5', 'frees a name when its lease runs out, and not before', async ({ open, leaseMs, pass }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      if (!a.guarantees.expiry) {
        await assert.rejects(tryIt(a, request(name, { leaseMs })), UnsupportedError);
        return;
      }
      let passedMs = 0;
      const sentAt = performance.now();
      await mustAcquire(a, name, { leaseMs });
      for (;;) {
        const result = await tryIt(b, request(name));
        const sinceMs = options.pass === undefined ? performance.now() - sentAt : passedMs;
        if (result.acquired) {
          assert(sinceMs >= leaseMs, `a lease of ${leaseMs} ms was taken over ${sinceMs} ms after it was asked for`);
          return;
        }
        assert.equal(result.reason, 'held');
        assert(sinceMs < leaseMs * 3 + 5_000, 'a lease that nobody renews comes free');
        await pass(5);
        passedMs += 5;
      }
    }),

    promise('G2', 'does not renew a lease that somebody else has taken over', async (fleet) => {
      const [a, b] = [await fleet.open(), await fleet.open()];
      if (!a.guarantees.expiry) return;
      const name = newName();
      const stale = await mustAcquire(a, name, { leaseMs: fleet.leaseMs });
      const fresh = await takeOver(fleet, b, name);
      assert.equal(await renew(a, stale), false, 'the taken lease is not renewed');
      assert.equal(await renew(b, fresh), true, 'the new one is');
    }),

    promise('G2', 'does not renew a lease whose time is over, also if nobody has followed', async (fleet) => {
      const [a, b] = [await fleet.open(), await fleet.open()];
      // A lease that the holder ends itself is given back, and so is not its own any more.
      if (!a.guarantees.expiry) return;
      const name = newName();
      const stale = await mustAcquire(a, name, { leaseMs: fleet.leaseMs });
      await fleet.pass(fleet.leaseMs * 1.5 + 50);
      assert.equal(await renew(a, stale), false, 'an expired lease is not renewed');
      await mustAcquire(b, name, { leaseMs: fleet.leaseMs });
    }),

    promise('G6', 'renews for the owner alone', async ({ open, leaseMs }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      const grant = await mustAcquire(a, name, { leaseMs: a.guarantees.expiry ? leaseMs * 4 : null });
      const forged = { ...grant, owner: randomUUID(), fence: grant.fence + 1n };
      assert.notEqual(await settled(renew(b, forged)), true, 'a renewal by somebody else is not confirmed');
      assert.equal(await renew(a, grant), true);
    }),

    promise('G6', 'does not release for somebody else', async ({ open }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      const grant = await mustAcquire(a, name);
      const forged = { ...grant, owner: randomUUID(), fence: grant.fence + 1n };
      assert.notEqual(await settled(done(b, forged)), true, 'a release by somebody else is not confirmed');
      await mustRefuse(b, name, 'held');
      assert.equal(await done(a, grant), true);
    }),

    promise('G6', "does not let an expired holder release its successor's lease", async (fleet) => {
      const [a, b] = [await fleet.open(), await fleet.open()];
      if (!a.guarantees.expiry) return;
      const name = newName();
      const stale = await mustAcquire(a, name, { leaseMs: fleet.leaseMs });
      await takeOver(fleet, b, name);
      assert.equal(await done(a, stale), false, 'the release is refused');
      await mustRefuse(a, name, 'held');
    }),

    promise('G6', 'releases by what the record tells, for an operator, and the holder learns of it', async ({ open, pass }) => {
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
    }),

    promise('G6', 'takes a second release quietly, and for no other lease than its own', async ({ open, pass }) => {
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

    promise('G6', 'does not renew what was released, nor change how it ended', async ({ open }) => {
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

    promise('G2', 'tells whoever holds a lease when closing the provider frees it', async ({ open }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      const grant = await mustAcquire(a, name);
      await a.close();
      const next = await tryIt(b, request(name));
      if (next.acquired) assert.equal(grant.lost?.aborted, true, 'the holder of the freed lease is told');
    }),

    promise('G3', 'gives every acquisition of a name a greater fence, through releases and expiry', async (fleet) => {
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

    promise('G3', 'goes on with its fences for a replica that opens the store anew', async ({ open }) => {
      const a = await open();
      if (a.guarantees.fence === 'process') return;
      const name = newName();
      const grant = await mustAcquire(a, name);
      await done(a, grant);
      await a.close();
      assert((await mustAcquire(await open(), name)).fence > grant.fence);
    }),

    promise('G5', 'holds a lease without end, if it says that it can', async ({ open, leaseMs, pass }) => {
      const [a, b] = [await open(), await open()];
      const name = newName();
      if (!a.guarantees.unbounded) {
        await assert.rejects(tryIt(a, request(name, { leaseMs: null })), UnsupportedError);
        return;
      }
      await mustAcquire(a, name, { leaseMs: null });
      await pass(leaseMs * 2);
      const refusal = await mustRefuse(b, name, 'held');
      assert.equal(refusal.expiresInMs, undefined, 'it does not expire');
    }),

    promise('G8', 'acquires nothing for a caller that has given up', async ({ open }) => {
      const a = await open();
      const name = newName();
      const reason = new Error('given up');
      await assert.rejects(async () => a.tryAcquire(request(name), AbortSignal.abort(reason)));
      await mustAcquire(a, name);
    }),

    promise('G8', 'keeps nothing of a try that was given up while it was under way', async ({ open, pass }) => {
      const [a, b] = [await open(), await open()];
      for (let round = 0; round < 5; round += 1) {
        const name = newName();
        const controller = new AbortController();
        const trying = (async () =>
          a.tryAcquire(request(name, { leaseMs: a.guarantees.expiry ? LONG_MS : null }), controller.signal))();
        controller.abort(new Error('given up'));
        const result = await settled(trying);
        // A grant in spite of it is the caller's to release; a rejection must have left nothing behind.
        if (typeof result === 'object' && 'acquired' in result && result.acquired) {
          await a.release(result.grant, { result: 'abandoned' }, new AbortController().signal);
        }
        let free = false;
        for (let waitedMs = 0; !free && waitedMs < 5_000; waitedMs += 20) {
          free = (await tryIt(b, request(name))).acquired;
          if (!free) await pass(20);
        }
        assert(free, 'the name comes free long before the lease would have ended');
      }
    }),

    promise('G5', 'wakes a waiter when the name comes free, if it says that it does', async ({ open }) => {
      const [a, b] = [await open(), await open()];
      // A provider that wakes nobody may still look in its own way, for many names at once.
      if (b.untilFree === undefined && a.guarantees.wakeUp === 'poll') return;
      assert(b.untilFree !== undefined, 'a provider that wakes its waiters has untilFree');
      const name = newName();
      const grant = await mustAcquire(a, name);
      const asked = request(name);
      const controller = new AbortController();
      // Hints may be early: only what comes after the last one counts.
      let acquired = false;
      const waiting = (async () => {
        while (!acquired) {
          await b.untilFree!(asked, controller.signal);
          acquired = (await tryIt(b, asked)).acquired;
        }
      })();
      await done(a, grant);
      await within(10_000, waiting, 'the waiter was not woken');
      controller.abort();
    }),

    promise('G5', 'lets a waiter go that has given up', async ({ open }) => {
      const [a, b] = [await open(), await open()];
      if (b.untilFree === undefined) return;
      const name = newName();
      const grant = await mustAcquire(a, name);
      const controller = new AbortController();
      const waiting = settled(b.untilFree(request(name), controller.signal));
      controller.abort(new Error('given up'));
      await within(10_000, waiting, 'the waiter was not let go');
      // Nor does it keep what came free after it had gone.
      await done(a, grant);
      await mustAcquire(a, name);
    }),

    promise('G8', 'closes twice without a word', async ({ open }) => {
      const a = await open();
      await a.close();
      await a.close();
    }),
  ];
}

/** Names that users will come up with: as a path, as SQL, in a shell, and to the last code point. */
function hostileNames(unique: string): string[] {
  const long = (character: string): string => character.repeat(500 - unique.length) + unique;
  return [
    unique,
    unique.toUpperCase(),
    `${unique} `,
    ` ${unique}`,
    `${unique}/`,
    `${unique}.`,
    `../../etc/${unique}`,
    `..\\..\\${unique}`,
    `/${unique}`,
    `${unique}\n`,
    `${unique}\r\n`,
    `${unique}\t`,
    `${unique}'; DROP TABLE job; --`,
    `${unique}"`,
    `$(${unique})`,
    '`' + unique + '`',
    `%${unique}_`,
    `{${unique}}`,
    `${unique}:1`,
    `${unique}é`,
    `${unique}e\u0301`,
    `${unique}\u202e`,
    long('n'),
    long('😀'),
    `${unique}.1.lock`,
    `${unique}~0`,
  ];
}
