// @ts-check

import { createSolo } from '@solorun/core';
import { postgresAdvisory, postgresLease } from '@solorun/postgres';
import { redis } from '@solorun/redis';
import { connect } from '../contenders/connect.js';
import { connectRedis, openVerrouOnRedis } from '../contenders/redis.js';
import { RAW_LEASE } from '../contenders/raw.js';
import { openVerrou } from '../contenders/verrou.js';
import { countPerCycle } from '../counted.js';
import { oneByOne } from '../interleaved.js';
import { pinTogether } from '../pin.js';
import { withAll, withPostgres, withRedis } from '../stage.js';

/** @import { LockProvider } from '@solorun/core' */
/** @import { Effort } from '../effort.js' */
/** @import { Counts } from '../counted.js' */
/** @import { Contender } from '../interleaved.js' */
/** @import { Line } from '../result.js' */
/** @import { Row } from '../rows.js' */

/** So long that nothing is renewed but by us, in ms. */
const LEASE_MS = 3_600_000;

/** @type {Row} */
export const renewAdvisory = {
  name: 'renew-advisory',
  title: '1,000 session locks of Postgres, kept',
  run: async (effort) => ({
    ...{ heading: 'p50', unit: 'ms', floor: 'raw' },
    how: 'One beat of the heartbeat: from the first question to the last answer. All on one processor; statements counted beside.',
    lines: await measure(effort, (url) => [
      renewed('`postgresAdvisory`', postgresAdvisory({ connectionString: url }), effort.leases),
      word(url),
    ]),
  }),
};

/** @type {Row} */
export const renewLease = {
  name: 'renew-lease',
  title: '1,000 lease rows in Postgres, renewed',
  run: async (effort) => ({
    ...{ heading: 'p50', unit: 'ms', floor: 'raw' },
    how: 'One beat of the heartbeat: from the first question to the last answer. All on one processor; statements counted beside.',
    lines: await measure(effort, (url) => [
      renewed('`postgresLease`', postgresLease({ connectionString: url }), effort.leases),
      batch(url, effort.leases),
      extended(url, effort.leases),
    ]),
  }),
};

/** @type {Row} */
export const renewRedis = {
  name: 'renew-redis',
  title: '1,000 locks on Redis, renewed',
  run: ({ segments, leases }) =>
    withRedis(async (server) => {
      /** @param {string} url */
      const open = (url) => [
        renewed('`redis`', redis({ url, settleMs: 0 }), leases),
        pexpire(url, leases),
        extendedOnRedis(url, leases),
      ];
      const counts = await countPerCycle(server, open, 1);
      return withAll(open(server.url), async (/** @type {Contender[]} */ contenders) => {
        pinTogether(server.pid);
        return {
          ...{ heading: 'p50', unit: 'ms', floor: 'raw' },
          how: 'One beat of the heartbeat: from the first question to the last answer. All on one processor; round trips counted beside.',
          lines: inMs(await oneByOne(contenders, { segments, turns: 3, cycles: 1 }), counts),
        };
      });
    }),
};

/**
 * @param {Effort} effort
 * @param {(url: string) => Promise<Contender>[]} open
 * @returns {Promise<Line[]>}
 */
function measure({ segments }, open) {
  return withPostgres(async (server) => {
    const { url, pid } = server;
    const counts = await countPerCycle(server, open, 1);
    return withAll(open(url), async (/** @type {Contender[]} */ contenders) => {
      // As autovacuum does within a minute; plans for a table that nobody has looked at cost ten times as much.
      const client = await connect(url);
      await client.query('ANALYZE');
      await client.end();
      pinTogether(pid);
      return inMs(await oneByOne(contenders, { segments, turns: 3, cycles: 1 }), counts);
    });
  });
}

/**
 * @param {readonly Line[]} lines in µs
 * @param {ReadonlyMap<string, Counts>} counts
 * @returns {Line[]}
 */
function inMs(lines, counts) {
  return lines.map((line) => ({
    ...{ ...line, value: line.value / 1000, segments: line.segments.map((us) => us / 1000) },
    also: { statements: counts.get(line.id)?.statements ?? Number.NaN },
  }));
}

/**
 * @param {string} name
 * @param {LockProvider} provider
 * @param {number} count
 * @returns {Promise<Contender>}
 */
async function renewed(name, provider, count) {
  const solo = createSolo({ provider, leaseMs: LEASE_MS });
  const leases = await Promise.all(names(count).map((lock) => solo.acquire(lock, { waitMs: 0 })));
  const { signal } = new AbortController();
  return {
    ...{ id: 'ours', name: `${name}, ${count.toLocaleString('en')} leases`, role: 'ours' },
    // As the heartbeat asks: all that fall due, in one turn of the event loop.
    cycle: () => Promise.all(leases.map(async ({ grant }) => provider.renew(grant, signal))),
    check(results) {
      if (/** @type {boolean[]} */ (results).includes(false)) throw new Error(`${name}: a lease was not renewed`);
    },
    close: () => solo.close(),
  };
}

/**
 * All that a session needs in order to go on.
 *
 * @param {string} url
 * @returns {Promise<Contender>}
 */
async function word(url) {
  const client = await connect(url);
  return {
    ...{ id: 'raw', name: 'SELECT 1 on the session', role: 'floor' },
    cycle: () => client.query({ name: 'nothing', text: 'SELECT 1' }),
    close: () => client.end(),
  };
}

/**
 * @param {string} url
 * @param {number} count
 * @returns {Promise<Contender>}
 */
async function batch(url, count) {
  const client = await connect(url);
  await client.query(RAW_LEASE.table);
  await client.query({
    text: `INSERT INTO raw_lease SELECT name, 'me', clock_timestamp() + interval '1 hour' FROM unnest($1::text[]) AS name
      ON CONFLICT (name) DO NOTHING`,
    values: [names(count)],
  });
  const renew = {
    name: 'renew',
    text: `UPDATE raw_lease l SET expires_at = clock_timestamp() + interval '1 hour' FROM unnest($1::text[]) AS a(name)
      WHERE l.name = a.name AND l.owner = 'me' AND l.expires_at > clock_timestamp() RETURNING l.name`,
    values: [names(count)],
  };
  return {
    ...{ id: 'raw', name: 'one UPDATE of all minimal rows', role: 'floor' },
    async cycle() {
      if ((await client.query(renew)).rowCount !== count) throw new Error('a row was not renewed');
    },
    close: () => client.end(),
  };
}

/**
 * @param {string} url
 * @param {number} count
 * @returns {Promise<Contender>}
 */
async function extended(url, count) {
  const { locks, close } = openVerrou(url);
  await locks.createLock('first', 30_000).run(async () => {});
  // Names of its own each time: these locks stay when it closes.
  const prefix = `${process.pid}-${performance.now()}`;
  const held = names(count).map((name) => locks.createLock(`${prefix}-${name}`, LEASE_MS));
  await Promise.all(held.map((lock) => lock.acquire()));
  return {
    ...{ id: 'verrou', name: '@verrou/core on kysely, `extend` of each', role: 'peer' },
    cycle: () => Promise.all(held.map((lock) => lock.extend(LEASE_MS))),
    close,
  };
}

/**
 * @param {string} url
 * @param {number} count
 * @returns {Promise<Contender>}
 */
async function pexpire(url, count) {
  const client = await connectRedis(url);
  const keys = names(count);
  await client.mset(...keys.flatMap((key) => [key, 'me']));
  const renew = `for _, key in ipairs(KEYS) do
    if redis.call('GET', key) ~= 'me' then return redis.error_reply('a key was not renewed') end
    redis.call('PEXPIRE', key, ARGV[1])
  end`;
  const sha = /** @type {string} */ (await client.script('LOAD', renew));
  return {
    ...{ id: 'raw', name: 'one script that compares and extends all keys', role: 'floor' },
    cycle: () => client.evalsha(sha, count, ...keys, LEASE_MS),
    close: () => client.disconnect(),
  };
}

/**
 * @param {string} url
 * @param {number} count
 * @returns {Promise<Contender>}
 */
async function extendedOnRedis(url, count) {
  const client = await connectRedis(url);
  const locks = openVerrouOnRedis(client);
  // Names of its own each time: these locks stay when it closes.
  const prefix = `${process.pid}-${performance.now()}`;
  const held = names(count).map((name) => locks.createLock(`${prefix}-${name}`, LEASE_MS));
  await Promise.all(held.map((lock) => lock.acquire()));
  return {
    ...{ id: 'verrou', name: '@verrou/core on ioredis, `extend` of each', role: 'peer' },
    cycle: () => Promise.all(held.map((lock) => lock.extend(LEASE_MS))),
    close: () => client.disconnect(),
  };
}

/** @param {number} count */
function names(count) {
  return Array.from({ length: count }, (_, lock) => `kept-${lock}`);
}
