import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';

/** The path of a lock file, as the README has it: by the first digits of the SHA-256 of the name. Its directory is made if need be. */
export function lockPath(directory: string, file: string): string {
  const folder = createHash('sha256').update(file.split('.')[0]!).digest('hex').slice(0, 3);
  mkdirSync(join(directory, folder), { recursive: true, mode: 0o700 });
  return join(directory, folder, file);
}

/** The names of all files below a directory, sorted. */
export function filesBelow(directory: string): string[] {
  const entries = readdirSync(directory, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => basename(name))
    .sort();
}
