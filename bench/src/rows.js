// @ts-check

import { advisory, advisoryAtOnce } from './rows/advisory.js';
import { bullmq, bullmqFiveMs, bullmqSkip } from './rows/bullmq.js';
import { cli } from './rows/cli.js';
import { failover } from './rows/failover.js';
import { handOffAdvisory, handOffLease, handOffLockfile, handOffRedis } from './rows/handoff.js';
import { lease, leaseAtOnce } from './rows/lease.js';
import { lockfile } from './rows/lockfile.js';
import { memory } from './rows/memory.js';
import { namesAdvisory, namesLease, namesLockfile, namesRedis } from './rows/names.js';
import { nodeCron } from './rows/node-cron.js';
import { redis, redisAtOnce } from './rows/redis.js';
import { renewAdvisory, renewLease, renewRedis } from './rows/renewal.js';
import { waiters, waitersRedis } from './rows/waiters.js';

/** @import { Effort } from './effort.js' */
/** @import { Group } from './result.js' */

/**
 * @typedef {object} Row
 * @property {string} name As `--rows` takes it.
 * @property {string} title
 * @property {(effort: Effort) => Promise<Omit<Group, 'row' | 'title'>>} run
 */

/** @type {readonly Row[]} */
export const rows = [
  advisory,
  advisoryAtOnce,
  lease,
  leaseAtOnce,
  redis,
  redisAtOnce,
  lockfile,
  memory,
  handOffAdvisory,
  handOffLease,
  handOffLockfile,
  handOffRedis,
  failover,
  waiters,
  waitersRedis,
  renewAdvisory,
  renewLease,
  renewRedis,
  namesAdvisory,
  namesLease,
  namesRedis,
  namesLockfile,
  bullmq,
  bullmqFiveMs,
  bullmqSkip,
  nodeCron,
  cli,
];
