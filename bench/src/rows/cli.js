// @ts-check
// How long a command line takes to be read, and how long until the command runs.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inTurn } from '../interleaved.js';
import { unpin } from '../pin.js';
import { withDirectory } from '../stage.js';
import { median } from '../statistics.js';

/** @import { Identity } from '../result.js' */
/** @import { Row } from '../rows.js' */

const solorun = fileURLToPath(new URL('bin/solorun.js', import.meta.resolve('@solorun/cli/package.json')));

/** @type {readonly (Identity & { readonly words: readonly string[], readonly until: 'end' | 'first word' })[]} */
const commands = [
  { id: 'node', name: '`node -e 0`', role: 'floor', words: ['-e', '0'], until: 'end' },
  { id: 'help', name: '`solorun --help`', role: 'ours', words: [solorun, '--help'], until: 'end' },
  {
    ...{ id: 'start', name: '`solorun run x -- echo` on `file:`, until the command speaks', role: 'ours' },
    ...{ words: [solorun, 'run', 'x', '--', 'echo'], until: 'first word' },
  },
  {
    ...{ id: 'whole', name: '`solorun run x -- echo` on `file:`, until it has ended', role: 'ours' },
    ...{ words: [solorun, 'run', 'x', '--', 'echo'], until: 'end' },
  },
];

/** @type {Row} */
export const cli = {
  name: 'cli',
  title: 'The command line, from its start',
  run: ({ segments, kills }) =>
    withDirectory(async (directory) => {
      unpin();
      const env = { ...process.env, SOLORUN_STORE: `file:${join(directory, 'locks')}` };

      /** @param {typeof commands[number]} command */
      const time = async ({ words, until }) => {
        const began = performance.now();
        const child = spawn(process.execPath, words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
        let spokeAt = Number.NaN;
        child.stdout.once('data', () => (spokeAt = performance.now()));
        const [status] = await once(child, 'close');
        if (status !== 0) throw new Error(`${words.join(' ')} ended with ${status}.`);
        return (until === 'end' ? performance.now() : spokeAt) - began;
      };

      for (const command of commands) await time(command);
      const all = commands.map(() => /** @type {number[][]} */ ([]));
      for (let segment = 0; segment < segments; segment += 1) {
        for (const [index, command] of inTurn(commands, segment)) {
          const samples = [];
          for (let each = 0; each < kills; each += 1) samples.push(await time(command));
          all[index]?.push(samples);
        }
      }
      return {
        ...{ heading: 'median', unit: 'ms', floor: 'node' },
        how: 'A process is started, and timed until it has ended or says its first word. On any processor.',
        lines: commands.map(({ id, name, role }, index) => {
          const own = all[index] ?? [];
          return { id, name, role, value: median(own.flat()), segments: own.map(median), count: own.flat().length };
        }),
      };
    }),
};
