// @ts-check
/** A run that is reported to a monitor. The program ends by itself, without close(). */
import { createSolo, pingUrl } from '../../dist/index.js';
import { memory } from '../../dist/memory.js';

const solo = createSolo({ provider: memory() });
await solo.run('job', () => {}, { onRun: pingUrl(process.argv[2] ?? '', { start: false }) });
process.stdout.write('ran\n');
