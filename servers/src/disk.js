// @ts-check
// A disk that is slow to flush, for the processes that are told to believe so.

import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What Node.js calls in the place of the C library's. A compiler is enough for it, without headers. */
const SLOW_FSYNC = `
void *dlsym(void *, const char *);
char *getenv(const char *);
int open(const char *, int, ...);
long read(int, void *, unsigned long);
int close(int);
int usleep(unsigned);
int fsync(int fd) {
  int (*really)(int) = (int (*)(int)) dlsym((void *) -1L /* RTLD_NEXT */, "fsync");
  char digits[8] = "";
  int ms = 0, file = open(getenv("SLOW_FSYNC_MS"), 0);
  if (file >= 0) {
    read(file, digits, 7);
    close(file);
  }
  for (char *digit = digits; *digit >= '0' && *digit <= '9'; digit++) ms = 10 * ms + *digit - '0';
  for (; ms > 0; ms--) usleep(1000);
  return really(fd);
}
`;

/**
 * Why no disk can be slow here, and the remedy; undefined when one can.
 *
 * @returns {string | undefined}
 */
export function slowDiskMissing() {
  if (process.platform !== 'linux') return 'A slow disk is made by LD_PRELOAD. Remedy: run this on Linux.';
  return spawnSync('cc', ['--version'], { stdio: 'ignore' }).status === 0
    ? undefined
    : 'There is no C compiler. Remedy: apt-get install gcc';
}

/**
 * @typedef {object} SlowDisk
 * @property {Readonly<Record<string, string>>} env For the processes whose flushes are slow.
 * @property {(ms: number) => void} set How long each flush takes from now on; 0: as long as it does.
 */

/**
 * @param {{ directory: string, ms?: number }} options The directory is for its files; `ms` as for `set`.
 * @returns {SlowDisk}
 */
export function slowDisk({ directory, ms = 0 }) {
  const missing = slowDiskMissing();
  if (missing !== undefined) throw new Error(missing);
  const [source, library, file] = [join(directory, 'slow.c'), join(directory, 'slow.so'), join(directory, 'slow-ms')];
  writeFileSync(source, SLOW_FSYNC);
  execFileSync('cc', ['-shared', '-fPIC', '-nostdlib', '-o', library, source]);
  const set = (/** @type {number} */ each) => writeFileSync(file, String(each));
  set(ms);
  return { env: { LD_PRELOAD: library, SLOW_FSYNC_MS: file }, set };
}
