import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openStage } from '@solorun/example-postgres/demo/stage';
import { postgresMissing } from '@solorun/servers/postgres';
import { redisMissing, startRedis } from '@solorun/servers/redis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { play } from '../src/demo/play.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-etl-test-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const runnable = (what: string, missing: string | undefined): boolean => {
  if (missing !== undefined) process.stderr.write(`SKIPPED: the ETL example on ${what}. ${missing}\n`);
  return missing === undefined || process.env['CI'] === 'true';
};

/** Plays it. @returns what was counted that is not as promised, with the story. */
async function broken(queueUrl?: string): Promise<unknown> {
  const story: string[] = [];
  const stage = await openStage({ url: undefined, tell: (line) => story.push(line) });
  try {
    const counts = await play(stage, { directory, queueUrl: queueUrl ?? stage.url });
    expect(Object.fromEntries(counts.map(({ what, found }) => [what, found]))).toMatchObject({
      'files published': 12,
      'days loaded': 3,
    });
    const wrong = counts.filter(({ kept }) => !kept);
    return wrong.length === 0 ? [] : [...wrong, readdirSync(directory, { recursive: true }), story];
  } catch (error) {
    throw new Error(`The demo did not get to its end:\n${story.join('\n')}`, { cause: error });
  } finally {
    await stage.close();
  }
}

const onPostgres = runnable('Postgres', postgresMissing());
it.runIf(onPostgres)(
  'does each step once, though steps are queued twice, workers stand still and one is killed: on Postgres',
  { timeout: 180_000 },
  async () => expect(await broken()).toEqual([]),
);

it.runIf(onPostgres && runnable('Redis', redisMissing()))('the same on Redis', { timeout: 180_000 }, async () => {
  await using server = await startRedis();
  expect(await broken(server.url)).toEqual([]);
});

it('says what it can do, and what it does not know', async () => {
  const program = fileURLToPath(new URL('../src/demo/main.js', import.meta.url));
  const main = (...args: string[]): Promise<object> =>
    new Promise((resolve) => {
      const child = execFile(process.execPath, [program, ...args], (_error, stdout, stderr) =>
        resolve({ status: child.exitCode, stdout, stderr }),
      );
    });
  expect(await main('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('--redis') as string, stderr: '' });
  expect(await main('--rediss')).toMatchObject({ status: 64, stdout: '', stderr: expect.stringContaining('--rediss') as string });
});
