// @ts-check
// What happens to the processes of replicas.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, signalAll, treeOf } from '@solorun/servers/processes';
import { victim } from '../victim.js';

/** @import { Nemesis, Scene } from '../nemeses.js' */
/** @import { PageName } from '../places.js' */

/** @type {readonly PageName[]} */
const everywhere = ['lockfile', 'advisory', 'lease', 'redis', 'redis-cluster'];

/** @param {Scene} scene @param {number} from @param {number} to of a lease */
async function stopFor({ fleet, random, job }, from, to) {
  const member = victim({ fleet, random });
  const ms = random.between(Math.round(from * job.leaseMs), Math.round(to * job.leaseMs));
  member.signal('SIGSTOP');
  await sleep(ms);
  member.signal('SIGCONT');
}

/**
 * Each `solorun run` of a replica, and the Node.js process that watches over it: all but the command.
 *
 * @param {number} pid the replica's
 */
function solorunsOf(pid) {
  return treeOf(pid).filter((each) => {
    try {
      const words = readFileSync(`/proc/${each}/cmdline`, 'utf8');
      return /^solorun run|bin\/solorun\.js|warden/.test(words);
    } catch (error) {
      if (['ENOENT', 'ESRCH'].includes(codeOf(error))) return false;
      throw error;
    }
  });
}

function prlimitMissing() {
  const { status } = spawnSync('prlimit', ['--version'], { stdio: 'ignore' });
  return status === 0 ? undefined : 'prlimit is not here. Remedy: run this on Linux, with util-linux.';
}

export const processes = /** @satisfies {Record<string, Nemesis>} */ ({
  kill: {
    title: 'a replica is killed (SIGKILL)',
    on: everywhere,
    strike: ({ fleet, random }) => victim({ fleet, random }).kill(),
  },
  'kill-all': {
    title: 'all replicas are killed at once',
    on: everywhere,
    strike: async ({ fleet }) => void (await Promise.all(fleet.members.map((member) => member.kill()))),
  },
  'stop-short': {
    title: 'a replica is stopped for a part of its lease (SIGSTOP)',
    on: everywhere,
    strike: (scene) => stopFor(scene, 0.05, 0.6),
  },
  'stop-edge': {
    title: 'a replica is stopped for about its lease',
    on: everywhere,
    strike: (scene) => stopFor(scene, 0.85, 1.15),
  },
  'stop-long': {
    title: 'a replica is stopped for two to three leases',
    on: everywhere,
    strike: (scene) => stopFor(scene, 2, 3),
  },
  block: {
    title: 'an event loop stands still for about a lease',
    on: everywhere,
    async strike({ fleet, random, job }) {
      const ms = random.between(Math.round(0.3 * job.leaseMs), Math.round(1.3 * job.leaseMs));
      victim({ fleet, random }).write(`block ${ms}`);
      await sleep(ms);
    },
  },
  'heavy-start': {
    title: 'runs begin with about a lease of synchronous work',
    on: everywhere,
    async strike({ fleet, random, job }) {
      const member = victim({ fleet, random });
      member.write(`heavy ${random.between(Math.round(0.4 * job.leaseMs), Math.round(1.2 * job.leaseMs))}`);
      await sleep(job.leaseMs * 3);
      member.write('heavy 0');
    },
  },
  'no-files': {
    title: 'a process may open no further file and no further connection (EMFILE)',
    on: everywhere,
    missing: prlimitMissing,
    async strike({ fleet, random, job }) {
      const member = victim({ fleet, random });
      // Node.js itself cannot start then, which is nothing of ours.
      await member.up();
      const { pid } = member;
      const prlimit = (/** @type {string[]} */ ...args) =>
        execFileSync('prlimit', ['--pid', String(pid), ...args], { encoding: 'utf8' });
      const limit = (/** @type {string} */ soft) => prlimit(`--nofile=${soft}:`);
      const before = prlimit('--nofile', '--noheadings', '--raw', '--output=SOFT').trim();
      // Open files stay open, and so do connections, unless something ends them.
      limit('1');
      const { network } = member.link;
      if (network !== undefined && 'breakAll' in network) network.breakAll();
      await sleep(random.between(job.leaseMs, job.leaseMs * 2));
      // One that has ended by itself is in the journal.
      if (existsSync(`/proc/${pid}`)) limit(before);
    },
  },
  pause: {
    title: 'an operator pauses a lock, and resumes it',
    on: everywhere,
    async strike({ fleet, random, job }) {
      const name = random.pick(job.names);
      // By a replica, which other faults may hit on the way.
      victim({ fleet, random }).write(`pause ${job.leaseMs * 3} ${name}`);
      await sleep(random.between(job.leaseMs, job.leaseMs * 2));
      random.pick(fleet.members).write(`resume 0 ${name}`);
    },
  },
  'two-settings': {
    title: 'a replica is replaced by one with another lease and policy',
    on: everywhere,
    // A server that settles does so for the lease that is asked for, unless `settleMs` is given.
    alone: true,
    async strike({ fleet, random, job }) {
      const leaseMs = Math.round((job.leaseMs * random.between(50, 200)) / 100);
      await victim({ fleet, random }).kill({ leaseMs, onBusy: random.pick(['skip', 'standby', 'wait', 'retry']) });
    },
  },
  'solorun-killed': {
    title: 'solorun and its warden are killed at once',
    on: everywhere,
    workload: 'commands',
    async strike({ fleet, random, job }) {
      signalAll(solorunsOf(victim({ fleet, random }).pid), 'SIGKILL');
      await sleep(job.leaseMs);
    },
  },
});
