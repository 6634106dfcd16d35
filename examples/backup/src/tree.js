// @ts-check
// Something to back up: the orders of a small shop, which go on coming in while backups are made.

import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const MONTHS = 8;
const ORDERS_PER_MONTH = 40;

/** @param {string} directory */
export function makeTree(directory) {
  for (let month = 1; month <= MONTHS; month += 1) {
    const folder = join(directory, `2025-${String(month).padStart(2, '0')}`);
    mkdirSync(folder, { recursive: true });
    for (let order = 1; order <= ORDERS_PER_MONTH; order += 1) {
      writeFileSync(join(folder, `order-${String(order).padStart(4, '0')}.json`), makeOrder());
    }
  }
}

/**
 * Changes a few orders. Each is replaced as a whole and keeps its size, so a backup has the old one or the new one.
 *
 * @param {string} directory
 * @param {string} scratch on the same file system
 */
export function changeTree(directory, scratch) {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  for (let change = 0; change < 5; change += 1) {
    const file = files[Math.floor(Math.random() * files.length)];
    if (file === undefined) return;
    const draft = join(scratch, 'order.draft');
    writeFileSync(draft, makeOrder());
    renameSync(draft, join(file.parentPath, file.name));
  }
}

function makeOrder() {
  const lines = Array.from({ length: 40 }, () => ({
    article: randomBytes(12).toString('hex'),
    note: randomBytes(30).toString('base64'),
  }));
  return JSON.stringify({ customer: randomBytes(8).toString('hex'), lines }, undefined, 1);
}
