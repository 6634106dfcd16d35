import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { killAll, start } from './json-process.ts';

const compiles = process.platform === 'linux' && spawnSync('cc', ['--version']).status === 0;
if (!compiles) process.stderr.write('SKIPPED: lock files on a slow disk. Remedy: apt-get install gcc, on Linux\n');

/** What node calls in the place of the C library's: a disk that is 100 ms late. A compiler is enough for it, without headers. */
const SLOW_FSYNC = `
void *dlsym(void *, const char *);
int usleep(unsigned);
int fsync(int fd) {
  int (*really)(int) = (int (*)(int)) dlsym((void *) -1L /* RTLD_NEXT */, "fsync");
  usleep(100000);
  return really(fd);
}
`;

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-slow-'));
});
afterEach(() => {
  killAll();
  rmSync(directory, { recursive: true });
});

function slowFsync(): string {
  const [source, library] = [join(directory, 'slow.c'), join(directory, 'slow.so')];
  writeFileSync(source, SLOW_FSYNC);
  execFileSync('cc', ['-shared', '-fPIC', '-nostdlib', '-o', library, source]);
  return library;
}

describe('a disk whose flushes take 100 ms', () => {
  it.runIf(compiles || process.env['CI'] === 'true')(
    'lets some of many occurrences run at the first try, all of them in the end and none twice, and never holds up the program',
    async () => {
      const store = pathToFileURL(join(directory, 'locks')).href;
      const program = start(new URL('./programs/slow-disk.js', import.meta.url), [store, '16', '2000'], {
        env: { LD_PRELOAD: slowFsync() },
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
