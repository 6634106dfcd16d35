import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** The path of a lock file, as the README has it: by the first digits of the SHA-256 of the name. Its directory is made if need be. */
export function lockPath(directory: string, file: string): string {
  const folder = createHash('sha256').update(file.split('.')[0]!).digest('hex').slice(0, 3);
  mkdirSync(join(directory, folder), { recursive: true, mode: 0o700 });
  return join(directory, folder, file);
}

/** Lets the locks of a directory start at 1, so that a test can name their files. */
export function startAtOne(directory: string): void {
  writeFileSync(lockPath(directory, '~all.0.floor'), '');
}

/** The names of all files below a directory, sorted, without the floor that all locks share. */
export function filesBelow(directory: string): string[] {
  const entries = readdirSync(directory, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => basename(name))
    .filter((name) => !name.endsWith('.floor'))
    .sort();
}
