// @ts-check
// The process of one contender: tells who it is, then answers each amount of work with what came of it.

import { slice } from '../interleaved.js';

/** @import { Amount, Contender } from '../interleaved.js' */

const [file = '', opener = '', args = ''] = process.argv.slice(2);
const openers = await import(`../contenders/${file}`);
const contender = /** @type {Contender} */ (await openers[opener](...JSON.parse(args)));
const { id, name, role } = contender;
// Whoever started us has had enough, or has gone.
process.once('disconnect', () => process.exit());
process.on('message', (message) => {
  void slice(contender, /** @type {Amount} */ (message)).then((figures) => process.send?.(figures));
});
process.send?.({ id, name, role });
