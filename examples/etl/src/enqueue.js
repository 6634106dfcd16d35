// @ts-check
// Queues the pipelines of some days: node enqueue.js 2026-11-01 2026-11-02 …
// Run it twice, from two hosts, by a cron job and by hand: what is queued twice is done once.

import { FlowProducer } from 'bullmq';
import { QUEUE, serverAt } from './queue.js';
import { STEPS } from './steps.js';

const { connection, backend } = serverAt(process.env['QUEUE_URL']);
const flows = new FlowProducer({ connection }, backend);
for (const day of process.argv.slice(2)) {
  await flows.add(pipeline(day));
  console.log(`queued ${day}`);
}
await flows.close();

/** BullMQ starts a job when its children are completed, so each step is the child of the one after it. @param {string} day */
function pipeline(day) {
  /** @type {import('bullmq').FlowJob | undefined} */
  let flow;
  for (const name of STEPS) {
    const job = { name, queueName: QUEUE, data: { day } };
    flow = flow === undefined ? job : { ...job, children: [flow] };
  }
  return /** @type {import('bullmq').FlowJob} */ (flow);
}
