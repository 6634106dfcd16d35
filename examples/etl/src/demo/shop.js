// @ts-check
// The shop whose orders are loaded: its files, and a server that hands them out and can be held up in the middle.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';

const COUNTRIES = ['AT', 'BR', 'CH', 'DE', 'FR', 'IN', 'JP', 'US'];
const CUSTOMERS = 200;
const ORDERS = 2_000;

/**
 * Makes the shop's files, dirt included.
 *
 * @param {string} directory @param {readonly string[]} days
 * @returns what each day comes to, in cents.
 */
export function makeFiles(directory, days) {
  mkdirSync(directory, { recursive: true });
  const countryOf = (/** @type {number} */ customer) => COUNTRIES[customer % COUNTRIES.length];
  const customers = Array.from({ length: CUSTOMERS }, (_, customer) => `c${customer},${countryOf(customer)}`);
  writeFileSync(join(directory, 'customers.csv'), ['customer,country', ...customers, ''].join('\n'));
  return new Map(
    days.map((day, index) => {
      let total = 0;
      const lines = ['order,customer,amount'];
      for (let order = 0; order < ORDERS; order += 1) {
        const cents = 100 + ((order * 37 + index * 11) % 9_900);
        const line = `${day}/${order},c${(order * 7) % CUSTOMERS},${(cents / 100).toFixed(2)}`;
        lines.push(line);
        total += cents;
        if (order % 50 === 0) lines.push(line, `${day}/x${order},, 12.50`, `${day}/y${order}, c1 ,n/a`);
      }
      writeFileSync(join(directory, `orders-${day}.csv`), [...lines, ''].join('\n'));
      return [day, total];
    }),
  );
}

/** @param {string} directory */
export async function openShop(directory) {
  /** What is held up, and who waits for its end. @type {Map<string, (() => void)[]>} */
  const held = new Map();
  const server = createServer((request, response) => {
    const file = new URL(request.url ?? '', 'http://shop').pathname.slice(1);
    const all = readFileSync(join(directory, file));
    response.setHeader('content-type', 'text/csv');
    const waiting = held.get(file);
    if (waiting === undefined) {
      response.end(all);
    } else {
      response.write(all.subarray(0, all.length / 2));
      waiting.push(() => response.end(all.subarray(all.length / 2)));
    }
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}`,
    /** The export of that day stops in its middle, for whoever asks. @param {string} day */
    holdUp: (day) => void held.set(`orders-${day}.csv`, []),
    /** How many wait for the rest of it. @param {string} day */
    waiting: (day) => held.get(`orders-${day}.csv`)?.length ?? 0,
    /** @param {string} day */
    release(day) {
      for (const go of held.get(`orders-${day}.csv`) ?? []) go();
      held.delete(`orders-${day}.csv`);
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
