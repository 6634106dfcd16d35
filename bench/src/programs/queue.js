// @ts-check
// A replica. Waits for the lock when told so on its standard input (`take`, or `take 200` for as many waits at once), and gives it back
// (`release`); or takes others for good (`keep 1000`). It says what happens in lines of JSON, with the time on the clock that all processes of a machine share, in ms.

import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { openQueue } from '../queues/queue.js';

const [kind = '', store = ''] = process.argv.slice(2);
const queue = await openQueue(kind, store);
/** @type {(() => unknown) | undefined} */
let release;

say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, count = '1'] = line.split(' ');
  if (verb === 'take') {
    for (let each = 0; each < Number(count); each += 1) void take();
    say({ waiting: true });
  }
  if (verb === 'release') {
    const at = now();
    // Nothing is said before it is done: whoever reads it would take a processor from those who are at work.
    await release?.();
    say({ released: at });
  }
  if (verb === 'keep') {
    await queue.keep?.(Number(count));
    say({ keeping: true });
  }
  if (verb === 'cpu') {
    const { user, system } = process.cpuUsage();
    say({ cpu: (user + system) / 1000 });
  }
}
// Whoever started us has gone.
process.exit();

async function take() {
  release = await queue.take();
  say({ held: now() });
}

function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** @param {Record<string, unknown>} words */
function say(words) {
  writeSync(1, `${JSON.stringify(words)}\n`);
}
