import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { freePort } from '@solorun/servers/port';
import { postgresMissing, startPostgres } from '@solorun/servers/postgres';
import { expect, it, onTestFinished } from 'vitest';

const root = join(import.meta.dirname, '..');
const missing = postgresMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: the first program without its database. ${missing}\n`);

/** The first program of the README, but each second, and without its two types. */
function firstProgram(): string {
  const text = readFileSync(join(root, 'examples/snippets/src/first.ts'), 'utf8');
  const directory = mkdtempSync(join(root, 'node_modules', '.solorun-first-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'first.mjs');
  writeFileSync(file, text.replace("'0 3 * * *'", "'* * * * * *'").replaceAll(/: (?:AbortSignal|Promise<void>)/g, ''));
  return file;
}

it.runIf(missing === undefined || process.env['CI'] === 'true')(
  'the first program of the README says in a sentence that its database is not there, and runs when it comes',
  { timeout: 120_000 },
  async () => {
    const server = await startPostgres();
    onTestFinished(() => server.stop());
    const port = await freePort();
    const program = spawn(process.execPath, [firstProgram()], {
      env: { ...process.env, DATABASE_URL: server.urlFor({ password: 'secret', port }) },
    });
    onTestFinished(() => void program.kill('SIGKILL'));
    let said = '';
    let printed = '';
    program.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    program.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    await expect.poll(() => said, { timeout: 60_000, interval: 10 }).toMatch(/SOLORUN_NOT_READY/);
    expect(said).toMatch(/postgres-advisory is not ready: [^\n]*ECONNREFUSED/);
    // The same server at the address that was asked for.
    const door = createServer((client) => {
      const through = connect(server.port, '127.0.0.1');
      pipeline(client, through, client, () => {});
    }).listen(port, '127.0.0.1');
    onTestFinished(() => void door.close());
    await expect.poll(() => printed, { timeout: 60_000 }).toMatch(/^the backup of \d{4}-/m);
    expect(said).not.toContain('secret');
  },
);
