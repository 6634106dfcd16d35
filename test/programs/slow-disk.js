// @ts-check
// Claims one occurrence of each of many jobs at once, and again until every one has run. Says how many had run when a short timer fired.
import { setTimeout as sleep } from 'node:timers/promises';
import { createSolo, ProviderError } from '@solorun/core';
import { say } from './say.js';
import { openStore } from './store.js';

const [store = '', count = '', leaseMs = ''] = process.argv.slice(2);
const solo = createSolo({ provider: await openStore(store), leaseMs: Number(leaseMs) });
const occurrence = new Date('2026-01-02T03:00:00Z');
const left = new Set(Array.from({ length: Number(count) }, (_, n) => `job-${n}`));
/** @type {string[]} */
const ran = [];

void sleep(10).then(() => say({ awake: ran.length }));
for (let round = 1; left.size > 0; round += 1) {
  const before = ran.length;
  /** @type {unknown[]} */
  const refused = [];
  await Promise.all(
    [...left].map(async (name) => {
      try {
        const { status } = await solo.run(name, () => void ran.push(name), { occurrence });
        if (status === 'ran') left.delete(name);
        else refused.push(status);
      } catch (error) {
        if (!(error instanceof ProviderError)) throw error;
      }
    }),
  );
  say({ round, ran: ran.length - before, refused });
}
const records = [];
for await (const { name, occurrence: last } of solo.list()) records.push([name, last?.state, last?.attempt]);
say({
  all: ran.length,
  different: new Set(ran).size,
  records: records.filter(([, state, attempt]) => state === 'done' && attempt === 1).length,
});
await solo.close();
