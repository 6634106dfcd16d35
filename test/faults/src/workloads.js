// @ts-check
// What fleets do, one page each. A workload starts when it is called and returns what stops it.

import { bullmq } from './workloads/bullmq.js';
import { commands } from './workloads/commands.js';
import { cron } from './workloads/cron.js';
import { elections } from './workloads/elections.js';
import { guarded } from './workloads/guarded.js';
import { ticks } from './workloads/ticks.js';

/** @import { Solo } from '@solorun/core' */
/** @import { createHandler } from './handler.js' */
/** @import { Entry } from './journal.js' */
/** @import { Orders } from './worker.js' */

/**
 * @typedef {object} Stage
 * @property {Solo} solo
 * @property {Orders} orders
 * @property {(entry: Entry) => void} note
 * @property {ReturnType<typeof createHandler>} handler
 */

/** @typedef {(stage: Stage) => Promise<() => Promise<void>>} Workload */

export const workloads = /** @satisfies {Readonly<Record<string, Workload>>} */ ({
  ticks,
  elections,
  cron,
  guarded,
  bullmq,
  commands,
});
