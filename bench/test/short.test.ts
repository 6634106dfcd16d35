import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, chmodSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { postgresMissing } from '@solorun/servers/postgres';
import { HELP } from '../src/arguments.js';
import { goals } from '../src/goals.js';
import type { Group } from '../src/result.js';
import { rows } from '../src/rows.js';
import { narrow, type Scale } from '../src/scale/measure.js';

const program = fileURLToPath(new URL('../src/main.js', import.meta.url));
const results = fileURLToPath(new URL('../results.md', import.meta.url));
/** Everything that it makes lies below: it is gone when nothing is left there. */
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-bench-test-'));
  // Started by root, the Postgres of its own runs as another user.
  chmodSync(directory, 0o755);
});
afterEach(() => rmSync(directory, { recursive: true }));

function bench(args: readonly string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [program, ...args],
      { env: { ...process.env, TMPDIR: directory }, maxBuffer: 2 ** 24 },
      (_error, stdout, stderr) => resolve({ status: child.exitCode, stdout, stderr }),
    );
  });
}

/** But for the empty cluster that is kept between runs. */
function leftovers(): string[] {
  return readdirSync(directory).filter((name) => !name.startsWith('solorun-servers-'));
}

/** In CI there is a server. */
const hasPostgres = postgresMissing() === undefined || process.env['CI'] === 'true';

// No figure is compared with anything here: a test that asserts a time is wrong on somebody's machine.
describe.runIf(hasPostgres)('in short', () => {
  it('measures every row, writes no file and leaves nothing behind', { timeout: 240_000 }, async () => {
    const before = existsSync(results) ? statSync(results).mtimeMs : 0;
    const { status, stdout, stderr } = await bench(['--short', '--json']);
    expect(status, stderr).toBe(0);
    const groups = JSON.parse(stdout) as Group[];
    expect(groups.map(({ row }) => row)).toEqual(rows.map(({ name }) => name));
    for (const { row, lines, floor } of groups) {
      expect(lines.length, row).toBeGreaterThan(1);
      for (const { id, value, segments, count, also = {} } of lines) {
        const all = [value, ...segments, count, ...Object.values(also)];
        expect(all.every(Number.isFinite), `${row}, ${id}: ${all.join(' ')}`).toBe(true);
        // What took time took some; of what is counted there may be none.
        expect(Math.min(value, ...segments), `${row}, ${id}`).toBeGreaterThan(floor === undefined ? -1 : 0);
        expect(count, `${row}, ${id}`).toBeGreaterThan(0);
      }
    }
    const judged = goals.flatMap(({ row, measured }) => groups.filter((group) => group.row === row).map(measured));
    expect(judged).toHaveLength(goals.length);
    expect(judged.every(Number.isFinite), judged.join(' ')).toBe(true);
    expect(existsSync(results) ? statSync(results).mtimeMs : 0).toBe(before);
    expect(leftovers()).toEqual([]);
  });

  it('measures how it scales, and draws it', { timeout: 240_000 }, async () => {
    const { status, stdout, stderr } = await bench(['--short', '--scale', '--json']);
    expect(status, stderr).toBe(0);
    const { replicas, names, pictures } = JSON.parse(stdout) as Scale & { pictures: Record<string, string> };
    const points = [...replicas, ...names].flatMap((curve) => curve.points);
    expect(points).toHaveLength(2 * (narrow.replicas.length + narrow.names.length));
    for (const { x, medianMs, p90Ms, perSecond } of points) {
      expect(
        [medianMs, p90Ms].every((ms) => ms > 0 && Number.isFinite(ms)),
        `hand-off at ${x}`,
      ).toBe(true);
      expect(perSecond).toBeGreaterThanOrEqual(0);
    }
    expect(Object.values(pictures).map((svg) => svg.slice(0, 5))).toEqual(['<svg ', '<svg ', '<svg ', '<svg ']);
    expect(leftovers()).toEqual([]);
  });

  it('prints tables of the rows that are asked for, and the goals that they are for', { timeout: 60_000 }, async () => {
    const { status, stdout } = await bench(['--short', '--rows', 'memory']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/async-mutex, runExclusive +\S+ +1\.00 +1\.00 – 1\.00/);
    expect(stdout).toMatch(/run\(\) ≤ async-mutex runExclusive +memory +\S+ +[✓✗]/);
    expect(stdout).not.toContain('advisory');
  });
});

it('explains itself', async () => {
  const { status, stdout } = await bench(['--help']);
  expect(status).toBe(0);
  expect(stdout).toBe(`${HELP}\n`);
  for (const { name } of rows) expect(stdout).toContain(`  ${name} `);
});

it.each([
  [['--rows', 'memory,cat'], '--rows: there is no "cat".'],
  [['--quick'], "Unknown option '--quick'"],
  [['all'], "Unexpected argument 'all'"],
  [['--scale', '--rows', 'memory'], '--scale has no rows'],
])('refuses %j with a reason and the help', async (args, reason) => {
  const { status, stdout, stderr } = await bench(args);
  expect(status).toBe(64);
  expect(stdout).toBe('');
  expect(stderr).toContain(reason);
  expect(stderr).toContain('Usage: npm run bench');
});
