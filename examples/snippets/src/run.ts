import { createSolo } from '@solorun/core';
import { memory } from '@solorun/core/memory';

const solo = createSolo({ provider: memory() });

const result = await solo.run('send-invoices', async ({ fence, signal, checkpoint }) => {
  for (const customer of ['ada', 'grace']) {
    checkpoint(); // throws if the lease is no longer ours
    await send(customer, signal); // aborts if it is lost meanwhile
  }
  return `sent under fence ${fence}`;
});

if (result.status === 'ran') console.log(result.value);
else console.log(`not now: ${result.reason}`, result.holder);

async function send(customer: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  console.log(customer);
}
