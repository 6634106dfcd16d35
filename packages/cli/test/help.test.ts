import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exits } from '../src/exit.ts';
import { solorunManual, withlockManual } from '../src/man.ts';
import { ends, withlock } from './cli.ts';

const root = join(import.meta.dirname, '../../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const { version } = JSON.parse(read('packages/cli/package.json')) as { version: string };

describe('--help', () => {
  it.each(['run', 'status', 'list', 'inspect', 'release', 'doctor', 'explain'])('of %s teaches with examples', async (verb) => {
    const { status, stdout, stderr } = await ends([verb, '--help']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^Usage: solorun ${verb} `));
    expect(stdout).toMatch(/^Examples:\n {2}# /m);
  });

  it('of solorun names the exit statuses', async () => {
    const { status, stdout } = await ends(['--help']);
    expect(status).toBe(0);
    for (const { status: number, meaning } of Object.values(exits)) expect(stdout).toContain(`${number}  ${meaning}`);
  });

  it('of withlock teaches too', async () => {
    const { status, stdout } = await withlock(['--help']).ended;
    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringMatching(/^Usage: withlock [^]*Examples:/) as string });
  });

  it('a mistake leads there', async () => {
    expect(await ends(['run', 'x', '--tommorow', '--', 'true'])).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('solorun run --help'),
    });
    expect(await ends(['run', 'x', '--retry', '1', '--', 'true'])).toMatchObject({ stderr: expect.stringContaining('--retries') });
  });

  it.each([[['true']], [['sh', '-c', 'true']], [[]]])('whoever leaves out the two dashes learns of them: %j', async (command) => {
    expect(await ends(['run', 'x', ...command])).toMatchObject({
      status: 64,
      stderr: expect.stringMatching(/two dashes: solorun run \w+ .*-- command/),
    });
  });
});

describe('the version', () => {
  it("is the package's", async () => {
    expect(await ends(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });
});

describe('the manual', () => {
  it('says what --help says: after a change, npm run man -w @solorun/cli', () => {
    expect(read('packages/cli/man/solorun.1')).toBe(solorunManual(version));
    expect(read('packages/cli/man/withlock.1')).toBe(withlockManual(version));
  });
});

describe('the exit statuses', () => {
  it('are kept over versions', () => {
    expect(Object.fromEntries(Object.entries(exits).map(([name, { status }]) => [name, status]))).toEqual({
      unsafe: 1,
      usage: 64,
      store: 69,
      internal: 70,
      busy: 75,
      lost: 76,
      overtime: 124,
      notExecutable: 126,
      notFound: 127,
    });
  });

  it('stand in docs/cli.md as they are', () => {
    const page = read('docs/cli.md');
    for (const { status, meaning } of Object.values(exits)) expect(page).toContain(`| ${status} | ${meaning} |`);
  });
});
