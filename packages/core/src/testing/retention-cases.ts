import assert from 'node:assert/strict';
import type { LockProvider } from '../provider.ts';
import {
  done,
  instant,
  keptCasesOf,
  mustAcquire,
  mustRefuse,
  newName,
  occurrence,
  recorded,
  renew,
  request,
  type ContractCase,
  type ContractOptions,
  type Fleet,
} from './harness.ts';

const HOUR_MS = 3_600_000;
const never = new AbortController().signal;

function forget(provider: LockProvider, name: string, untouchedForMs = 0): Promise<boolean> {
  return provider.forget(name, { untouchedForMs }, never);
}

/** Records go away, and fences never go back for it. */
export function retentionCases(options: ContractOptions): ContractCase[] {
  const promise = keptCasesOf(options, 'G4');

  return [
    promise('forgets a name that is free, with its runs, and nothing of it is left', async (a, b, fleet) => {
      const name = newName();
      const at = instant(5);
      assert.equal(await forget(a, name), false);
      await done(a, await mustAcquire(a, name, occurrence(at)));
      await recorded(fleet, a);
      assert.equal(await forget(b, name), true);
      assert.equal(await forget(a, name), false);
      assert.equal(await a.inspect(name), undefined);
      assert.deepEqual(await b.runs(name, 9), []);
      for await (const record of a.list(name)) assert.fail(`"${record.name}" is not listed any more`);
      // Nothing is known of it, so it may run again: as the documentation says.
      const again = await mustAcquire(a, name, occurrence(at));
      assert.deepEqual([again.attempt, again.previous], [1, undefined]);
    }),

    promise('gives a forgotten name greater fences than before', growsOn),

    promise('does not forget a name that is held, paused, or was touched meanwhile', keepsWhatIsUsed),

    promise('keeps a name whose next scheduled time is still to come', async (a, b) => {
      const name = newName();
      const nextDueAt = new Date(Date.now() + HOUR_MS);
      await done(a, await mustAcquire(a, name, { occurrence: { at: instant(5), attempts: 1, nextDueAt } }));
      assert.equal(await forget(b, name), false);
      assert.notEqual(await b.inspect(name), undefined);
    }),

    promise('excludes as ever while others forget the name again and again', excludesMeanwhile),
  ];
}

async function growsOn(a: LockProvider, b: LockProvider, fleet: Fleet): Promise<void> {
  const name = newName();
  let last = 0n;
  for (const round of [0, 1, 2]) {
    for (const replica of [a, b, a]) {
      const grant = await mustAcquire(replica, name, round === 1 ? occurrence(instant(9)) : {});
      assert(grant.fence > last, `the fence ${grant.fence} is greater than ${last}`);
      last = grant.fence;
      if (round === 1) {
        await done(replica, grant);
        break;
      }
      await done(replica, grant);
    }
    await recorded(fleet, a);
    await recorded(fleet, b);
    assert.equal(await forget(b, name), true);
  }
}

async function keepsWhatIsUsed(a: LockProvider, b: LockProvider, fleet: Fleet): Promise<void> {
  const [held, paused, touched] = [newName(), newName(), newName()];
  const grant = await mustAcquire(a, held, occurrence(instant(5)));
  assert.equal(await forget(b, held), false);
  assert.equal(await renew(a, grant), true);
  await mustRefuse(b, held, 'held');

  await done(a, await mustAcquire(a, paused, occurrence(instant(5))));
  await a.pause(paused, { forMs: HOUR_MS, by: 'kim@ops' }, never);
  assert.equal(await forget(b, paused), false);
  assert.equal((await a.inspect(paused))?.paused?.by, 'kim@ops');
  await a.resume(paused, never);
  assert.equal(await forget(b, paused), true);

  await done(a, await mustAcquire(a, touched, occurrence(instant(5))));
  await recorded(fleet, a);
  assert.equal(await forget(b, touched, HOUR_MS), false);
  await mustRefuse(b, touched, 'done', occurrence(instant(5)));
}

/** Two replicas acquire a name in turns and at once, while a third one forgets it whenever it is free. */
async function excludesMeanwhile(a: LockProvider, b: LockProvider, fleet: Fleet): Promise<void> {
  const third = await fleet.open();
  const name = newName();
  let holders = 0;
  let last = 0n;
  const over = new AbortController();
  const use = async (replica: LockProvider): Promise<void> => {
    for (let runs = 0, tries = 0; runs < 20; tries += 1) {
      assert(tries < 5_000, 'a name that is forgotten can be acquired');
      const result = await replica.tryAcquire(
        { name, owner: request(name).owner, leaseMs: 60_000, holder: { host: 'contract.test', pid: 4711 } },
        never,
      );
      if (!result.acquired) {
        await fleet.pass(1);
        continue;
      }
      assert.equal((holders += 1), 1, 'one holder at a time');
      assert(result.grant.fence > last, `the fence ${result.grant.fence} is greater than ${last}`);
      last = result.grant.fence;
      await fleet.pass(1);
      holders -= 1;
      await done(replica, result.grant);
      runs += 1;
    }
  };
  const forgetting = (async () => {
    while (!over.signal.aborted) {
      await forget(third, name);
      await fleet.pass(1);
    }
  })();
  try {
    await Promise.all([use(a), use(b)]);
  } finally {
    over.abort();
    await forgetting;
  }
}
