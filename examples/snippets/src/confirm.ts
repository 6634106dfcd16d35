import { createSolo } from '@solorun/core';
import { memory } from '@solorun/core/memory';

const solo = createSolo({ provider: memory() });

await solo.run('reindex', async ({ confirm }) => {
  for (const part of ['a-m', 'n-z']) {
    const index = build(part); // seconds of work without a turn of the event loop
    await confirm(); // asks whether the lock is still ours; throws if not
    await publish(index);
  }
});

// The database restarts just now? Ask again for up to five minutes.
await solo.run('report', report, { onOutage: 'retry', outageMs: 300_000 });

function build(part: string): string[] {
  return [part];
}

async function publish(index: string[]): Promise<void> {
  console.log(index.length);
}

async function report(): Promise<void> {}
