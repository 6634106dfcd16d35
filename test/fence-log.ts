import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { start, type JsonProcess } from './json-process.ts';
import { program } from './stories.ts';

/** A file that workers append each of their fences to, under the lock: so in the order of holding. One per test. */
export interface FenceLog {
  readonly written: () => bigint[];
  readonly expectToGrow: () => void;
  /** Processes that acquire `fences` again and again, as programs/fences.js takes it. */
  readonly startWorkers: (count: number, store: string, ...rest: string[]) => JsonProcess[];
}

export function fenceLog(): FenceLog {
  let directory: string;
  let file: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'solorun-fences-'));
    file = join(directory, 'fences');
    writeFileSync(file, '');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const written = (): bigint[] => readFileSync(file, 'utf8').trimEnd().split('\n').filter(Boolean).map(BigInt);
  return {
    written,
    expectToGrow() {
      const fences = written();
      const bad = fences.flatMap((fence, n) => (n === 0 || fence > fences[n - 1]! ? [] : [`${fence} after ${fences[n - 1]}`]));
      expect(bad).toEqual([]);
    },
    startWorkers: (count, store, ...rest) => Array.from({ length: count }, () => start(program('fences'), [store, file, ...rest])),
  };
}
