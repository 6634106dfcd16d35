// @ts-check
/** Two runs of one lock, of which the second is skipped. What is logged is up to the environment. */
import { createSolo } from '../../dist/index.js';
import { memory } from '../../dist/memory.js';

const provider = memory();
const solo = createSolo({ provider, label: 'web-1' });
createSolo({ provider });
await solo.run('back\nup', () => solo.run('back\nup', () => {}));
await solo.run('bad', () => Promise.reject(new Error('at postgres://app:hunter2@db/app\nno'))).catch(() => {});
await solo.close();
