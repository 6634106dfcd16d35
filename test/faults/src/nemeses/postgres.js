// @ts-check
// What happens to a Postgres.

import { setTimeout as sleep } from 'node:timers/promises';
import { signalAll } from '@solorun/servers/processes';
import { pgbouncerMissing } from '@solorun/servers/pgbouncer';
import pg from 'pg';
import { networkNamespaceMissing } from '@solorun/servers/network';
import { until } from '@solorun/servers/witness';
import { excludes } from '../excluded.js';
import { ask, POOLED } from '../places/postgres.js';
import { victim } from '../victim.js';

/** @import { Postgres } from '@solorun/servers/postgres' */
/** @import { Nemesis, Scene } from '../nemeses.js' */
/** @import { PageName } from '../places.js' */

/** @type {readonly PageName[]} */
const both = ['advisory', 'lease'];
/** @type {readonly PageName[]} */
const sessions = ['advisory'];

const BACKENDS =
  "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random()";

/** @param {Postgres} server */
async function isUp({ url }) {
  try {
    await ask(url, 'SELECT 1');
    return true;
  } catch {
    // The next try follows, or the end of patience.
    return false;
  }
}

/** @param {Scene} scene @returns {Postgres} */
function serverOf({ place }) {
  if (place.postgres === undefined) throw new Error('This nemesis is for Postgres.');
  return place.postgres;
}

/** The application_name of clients that take all sessions there are. */
const GREEDY = 'greedy';

/** @param {string} url */
function greedyClient(url) {
  const client = new pg.Client({ connectionString: url, application_name: GREEDY });
  client.on('error', () => {});
  return client;
}

/**
 * Holds a transaction open that has done something.
 *
 * @param {Scene} scene
 * @param {string} text
 */
async function inTheWay(scene, text) {
  const client = new pg.Client({ connectionString: serverOf(scene).url });
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query('BEGIN');
    await client.query(text);
    await sleep(scene.random.between(scene.job.leaseMs, scene.job.leaseMs * 2));
    await client.query('ROLLBACK');
  } finally {
    await client.end();
  }
}

export const postgresServers = /** @satisfies {Record<string, Nemesis>} */ ({
  'end-backends': {
    title: 'sessions are ended (pg_terminate_backend)',
    on: both,
    async strike(scene) {
      await ask(serverOf(scene).url, `SELECT pg_terminate_backend(pid) FROM (${BACKENDS} LIMIT 2) AS chosen`);
    },
  },
  'end-while-blocked': {
    title: 'a session is ended while its event loop stands still',
    on: sessions,
    async strike(scene) {
      const { fleet, random, job } = scene;
      const ms = Math.round(0.6 * job.leaseMs);
      const member = victim({ fleet, random });
      member.write(`block ${ms}`);
      await sleep(50);
      await ask(serverOf(scene).url, `SELECT pg_terminate_backend(pid) FROM (${BACKENDS}) AS chosen`);
      await sleep(ms);
    },
    // `confirm()` asks the server.
    excluded: excludes('`signal` and `checkpoint()` know what the event loop has read', {
      kinds: ['overlap'],
      unless: ({ asks }) => asks === 'confirm',
    }),
  },
  'end-while-cut': {
    title: 'a session is ended while its cable is cut',
    on: sessions,
    async strike(scene) {
      const { network } = victim(scene).link;
      network?.cut();
      await ask(serverOf(scene).url, `SELECT pg_terminate_backend(pid) FROM (${BACKENDS}) AS chosen`);
      await sleep(scene.job.leaseMs);
      network?.mend();
    },
    excluded: excludes('Two faults at once on Postgres session locks', { kinds: ['overlap', 'told too late'] }),
  },
  'kill-backend': {
    title: 'a backend is killed (SIGKILL), so that the server starts anew',
    on: both,
    async strike(scene) {
      const [backend] = await ask(serverOf(scene).url, `${BACKENDS} LIMIT 1`);
      if (backend !== undefined) signalAll([Number(backend['pid'])], 'SIGKILL');
      await until('the server answers again', () => isUp(serverOf(scene)));
    },
  },
  restart: { title: 'the server is restarted in order', on: both, strike: (scene) => serverOf(scene).restart() },
  crash: {
    title: 'the server is killed (SIGKILL) and started',
    on: both,
    async strike(scene) {
      await serverOf(scene).kill();
      await sleep(scene.random.between(0, 500));
      await serverOf(scene).start();
    },
  },
  'machine-reset': {
    title: "the server's machine is reset: no client hears of it",
    on: both,
    needs: 'namespaces',
    missing: networkNamespaceMissing,
    async strike(scene) {
      const { fleet, random } = scene;
      const spaces = fleet.members.map(({ link }) => /** @type {import('@solorun/servers/network').Namespace} */ (link.network));
      const cutOff = random.pick(spaces);
      const [, ...far] = spaces.filter((space) => space !== cutOff);
      cutOff.cut();
      // One hears of it at once, and is the next to ask: as a replica that has just been started.
      /** @param {readonly import('@solorun/servers/network').Namespace[]} left @returns {Promise<void>} */
      const resetFor = async ([space, ...others]) => {
        if (space === undefined) return serverOf(scene).kill();
        await space.reset(() => resetFor(others));
      };
      await resetFor(far);
      await serverOf(scene).start();
      await sleep(scene.job.leaseMs * 2);
      for (const space of spaces) space.mend();
    },
  },
  freeze: {
    title: 'the server stands still',
    on: both,
    async strike(scene) {
      serverOf(scene).freeze({ sessions: true });
      await sleep(scene.random.between(Math.round(0.3 * scene.job.leaseMs), scene.job.leaseMs * 2));
      serverOf(scene).thaw();
    },
  },
  exhausted: {
    title: 'no connection is left',
    on: both,
    async strike(scene) {
      const { url } = serverOf(scene);
      /** @type {pg.Client[]} */
      const clients = [];
      try {
        for (;;) {
          const client = greedyClient(url);
          clients.push(client);
          await client.connect();
        }
      } catch (error) {
        // too_many_connections: that is what was wanted.
        if (/** @type {{ code?: string }} */ (error).code !== '53300') throw error;
      }
      await sleep(scene.job.leaseMs * 2);
      await Promise.all(clients.map((client) => client.end().catch(() => {})));
    },
  },
  'pooler-exhausted': {
    title: 'sessions are ended, and other clients take all that the pooler has',
    on: both,
    missing: pgbouncerMissing,
    needs: 'pooler',
    async strike(scene) {
      const { pooler } = scene.place;
      if (pooler === undefined) throw new Error('This nemesis is for a pooler.');
      const clients = Array.from({ length: POOLED }, () => greedyClient(pooler.url));
      // A pooler takes a client, and gives it a session when it asks for something. Clients that still wait at the end are closed.
      const asking = clients.map((client) => client.connect().then(() => client.query('SELECT 1')));
      const isServed = Promise.allSettled(asking);
      await asking[0];
      await ask(
        serverOf(scene).url,
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> $1`,
        [GREEDY],
      );
      await sleep(scene.job.leaseMs * 2);
      await Promise.all(clients.map((client) => client.end().catch(() => {})));
      await isServed;
    },
  },
  promotion: {
    title: 'the primary is killed, and the standby that follows it synchronously is promoted',
    on: both,
    needs: 'standbys',
    spent: ({ place }) => place.standbys?.length === 0,
    async strike({ place, job }) {
      const [next] = place.standbys ?? [];
      if (place.postgres === undefined || next === undefined) throw new Error('This nemesis is for a Postgres with standbys.');
      await place.postgres.kill();
      await next.promote();
      place.standbys?.shift();
      place.postgres = next;
      await sleep(job.leaseMs * 2);
    },
  },
  'row-locked': {
    title: 'a transaction keeps the rows of locks locked',
    on: both,
    strike: (scene) => inTheWay(scene, 'SELECT 1 FROM solorun.job FOR UPDATE'),
  },
  'table-locked': {
    title: 'a transaction keeps the table locked',
    on: both,
    strike: (scene) => inTheWay(scene, 'LOCK TABLE solorun.job IN ACCESS EXCLUSIVE MODE'),
  },
  'vacuum-full': {
    title: 'VACUUM FULL',
    on: both,
    strike: async (scene) => void (await ask(serverOf(scene).url, 'VACUUM FULL')),
  },
  'read-only': {
    title: 'the database is read-only for a while',
    on: both,
    async strike(scene) {
      const { url } = serverOf(scene);
      await ask(url, 'ALTER SYSTEM SET default_transaction_read_only = on');
      await ask(url, 'SELECT pg_reload_conf()');
      await sleep(scene.job.leaseMs * 2);
      // On a connection that may write. ALTER SYSTEM has to be the only statement in its text.
      const writable = new URL(url);
      writable.searchParams.set('options', '-c default_transaction_read_only=off');
      await ask(writable.href, 'ALTER SYSTEM RESET default_transaction_read_only');
      await ask(url, 'SELECT pg_reload_conf()');
    },
  },
});
