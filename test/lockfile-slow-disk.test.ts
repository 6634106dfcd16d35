import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { slowDisk, slowDiskMissing } from '@solorun/servers/disk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { killAll, start } from './json-process.ts';

const missing = process.env['CI'] === 'true' ? undefined : slowDiskMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: lock files on a slow disk. ${missing}\n`);

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-slow-'));
});
afterEach(() => {
  killAll();
  rmSync(directory, { recursive: true });
});

describe('a disk whose flushes take 100 ms', () => {
  it.runIf(missing === undefined)(
    'lets some of many occurrences run at the first try, all of them in the end and none twice, and never holds up the program',
    async () => {
      const store = pathToFileURL(join(directory, 'locks')).href;
      const program = start(new URL('./programs/slow-disk.js', import.meta.url), [store, '16', '2000'], {
        env: slowDisk({ directory, ms: 100 }).env,
      });
      // A timer of 10 ms, before the first grant, which takes two flushes.
      expect(await program.says('awake')).toMatchObject({ awake: 0 });
      const { ran } = await program.says('round', { round: 1 });
      expect(ran).toBeGreaterThan(0);
      expect(await program.says('all')).toMatchObject({ all: 16, different: 16, records: 16 });
      expect(await program.ended).toBe(0);
    },
    60_000,
  );
});
