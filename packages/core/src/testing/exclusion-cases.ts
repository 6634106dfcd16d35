import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  casesOf,
  mustAcquire,
  mustRefuse,
  newName,
  renew,
  request,
  tryIt,
  type ContractCase,
  type ContractOptions,
  type Fleet,
} from './harness.ts';

/** Two holders are kept apart, whatever the name is. */
export function exclusionCases(options: ContractOptions): ContractCase[] {
  const promise = casesOf(options, 'G1');

  return [
    promise('grants a free name to whoever asks first, with its own owner and a fence', async ({ open }) => {
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

    promise('refuses a held name as a value that tells who holds it, and throws nothing', async ({ open }) => {
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

    promise('grants one name to exactly one of many who ask at once', async ({ open }) => {
      const replicas = [await open(), await open(), await open()];
      const name = newName();
      const tries = Array.from({ length: 24 }, (_, n) => tryIt(replicas[n % replicas.length]!, request(name)));
      const granted = (await Promise.all(tries)).filter((result) => result.acquired);
      assert.equal(granted.length, 1, `${granted.length} of 24 hold the lock`);
    }),

    promise('keeps a name apart from every other, whatever characters it is made of', async ({ open }) => {
      const a = await open();
      const names = hostileNames(randomUUID());
      for (const name of names) await mustAcquire(a, name);
      for (const name of names) {
        await mustRefuse(a, name, 'held');
        if (a.guarantees.occurrences) assert.equal((await a.inspect(name))?.name, name);
      }
    }),

    promise('keeps a renewed lease beyond its first end', keepsRenewed),
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

/** Renews in time, and tries from another replica after each renewal. */
async function keepsRenewed({ open, leaseMs, pass }: Fleet): Promise<void> {
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
}
