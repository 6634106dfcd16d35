// @ts-check
// The five steps of a day: extract, clean, join, aggregate, load. Each reads files and publishes one, and the last fills a table.
//
// What a run publishes has its fence in its name. So two runs of one step can be told apart, whoever reads takes the newest, and a run
// that was stopped for longer than its lease cannot write over what its successor has made.

import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join as pathOf } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { UnrecoverableError } from 'bullmq';
import { parse } from 'csv-parse/sync';
import { stringify } from 'csv-stringify/sync';
import pg from 'pg';

/** @typedef {import('bullmq').Job<{ day: string }, string, string>} StepJob */
/** @typedef {import('@solorun/core').RunContext} Run */
/** @typedef {Record<string, string>} Row */

const inside = (/** @type {string[]} */ ...path) => pathOf(process.env['ETL_DIRECTORY'] ?? '.', ...path);
/** The shop's export of a day is at `<SHOP_URL>/orders-2026-11-01.csv`. */
const shop = process.env['SHOP_URL'];
const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'] });
pool.on('error', () => {}); // a connection that ends is told by its next query
pool.on('connect', (client) => client.on('error', () => {}));

/** @type {ReadonlyMap<string, (day: string, run: Run) => Promise<string>>} */
const steps = new Map(Object.entries({ extract, clean, join, aggregate, load }));
/** In their order. */
export const STEPS = [...steps.keys()];

/** @param {StepJob} job @param {Run} run @returns {Promise<string>} what was done, in words. */
export function runStep(job, run) {
  const { name, data } = job;
  const step = steps.get(name);
  if (step === undefined) throw new UnrecoverableError(`There is no step ${name}.`);
  if (!/^\d{4}-\d\d-\d\d$/.test(data.day)) throw new UnrecoverableError(`${data.day} is no day.`);
  return step(data.day, run);
}

export async function endSteps() {
  await pool.end();
}

/** @param {string} day @param {Run} run */
async function extract(day, run) {
  const response = await fetch(`${shop}/orders-${day}.csv`, { signal: run.signal });
  if (!response.ok || response.body === null) throw new Error(`The shop answers ${response.status}.`);
  return publish(day, 'extract', run, response.body);
}

/** Orders without a customer or an amount are dropped, and those that are there twice. @param {string} day @param {Run} run */
async function clean(day, run) {
  /** @type {Map<string, Row>} */
  const orders = new Map();
  for (const { order = '', customer = '', amount = '' } of await read(day, 'extract')) {
    const cents = Math.round(Number(amount) * 100);
    if (customer !== '' && amount !== '' && Number.isSafeInteger(cents))
      orders.set(order, { order, customer, cents: String(cents) });
  }
  return publish(day, 'clean', run, [stringify([...orders.values()], { header: true })]);
}

/** Each order gets the country of its customer. @param {string} day @param {Run} run */
async function join(day, run) {
  const customers = await csv(inside('customers.csv'));
  const countries = new Map(customers.map(({ customer, country }) => [customer, country]));
  const orders = await read(day, 'clean');
  const joined = orders.map(({ customer, cents }) => ({ country: countries.get(customer) ?? 'unknown', cents }));
  return publish(day, 'join', run, [stringify(joined, { header: true })]);
}

/** @param {string} day @param {Run} run */
async function aggregate(day, run) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const { country = '', cents } of await read(day, 'join')) sums.set(country, (sums.get(country) ?? 0) + Number(cents));
  return publish(day, 'aggregate', run, [stringify([...sums], { header: true, columns: ['country', 'cents'] })]);
}

/**
 * Adds the day to the table, where a second time would double its revenue.
 *
 * The fence is checked where the rows are written, by the database: a run from the past cannot commit, whenever it wakes up.
 *
 * @param {string} day @param {Run} run
 */
async function load(day, run) {
  const fence = String(run.fence);
  const sums = await read(day, 'aggregate');
  // From here on, whoever has a smaller fence is from the past.
  const { rows: known } = await pool.query(
    `INSERT INTO loading (day, fence) VALUES ($1, $2)
     ON CONFLICT (day) DO UPDATE SET fence = excluded.fence WHERE loading.fence < excluded.fence
     RETURNING loaded`,
    [day, fence],
  );
  if (known.length === 0) throw new Error(`A run later than fence ${fence} loads ${day}.`);
  // By a run that was killed after it had committed, and before it could say so.
  if (known[0].loaded) return 'loaded before';
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    for (const { country, cents } of sums) {
      await client.query('INSERT INTO revenue (day, country, cents, fence) VALUES ($1, $2, $3, $4)', [day, country, cents, fence]);
    }
    const { rowCount } = await client.query('UPDATE loading SET loaded = true WHERE day = $1 AND fence = $2', [day, fence]);
    if (rowCount === 0) throw new Error(`A run later than fence ${fence} loads ${day}.`);
    await client.query('COMMIT');
    return `${sums.length} countries`;
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

/**
 * Writes a file and gives it its name when it is whole, and ours to give.
 *
 * @param {string} day @param {string} step @param {Run} run @param {Iterable<string> | ReadableStream<Uint8Array>} content
 */
async function publish(day, step, { fence, signal, checkpoint }, content) {
  await mkdir(inside(day), { recursive: true });
  // What earlier runs left unfinished. One that is only stopped has then nothing to give a name to when it wakes.
  for (const left of await runsOf(day, step, 'part')) {
    if (left < fence) await rm(inside(day, `${step}.${left}.part`), { force: true });
  }
  const file = inside(day, `${step}.${fence}`);
  const part = await open(`${file}.part`, 'wx');
  try {
    await pipeline(content, part.createWriteStream(), { signal });
    checkpoint(); // throws if the lock was lost meanwhile
    await rename(`${file}.part`, `${file}.csv`);
  } catch (error) {
    // A run that was stopped for long wakes after the next one has cleared up and ended.
    await rm(`${file}.part`, { force: true });
    throw error;
  }
  return `${step}.${fence}.csv`;
}

/** What a step has published of a day: by the run with the greatest fence. @param {string} day @param {string} step */
async function read(day, step) {
  const fences = await runsOf(day, step, 'csv');
  const newest = fences.reduce((one, other) => (other > one ? other : one), 0n);
  return csv(inside(day, `${step}.${newest}.csv`));
}

/** The fences of the runs that left files. @param {string} day @param {string} step @param {'csv' | 'part'} kind */
async function runsOf(day, step, kind) {
  return (await readdir(inside(day))).flatMap((name) => {
    const [of, fence = '', is] = name.split('.');
    return of === step && is === kind ? [BigInt(fence)] : [];
  });
}

/** @param {string} file @returns {Promise<Row[]>} */
async function csv(file) {
  return parse(await readFile(file), { columns: true, trim: true });
}
