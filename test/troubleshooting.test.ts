import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
/** Names of environment variables, which look the same. */
const variables = new Set(['NAME', 'FENCE', 'ATTEMPT', 'OCCURRENCE', 'RUN', 'STORE', 'NAMESPACE', 'PING_URL']);

/** All codes that stand in the sources as texts of their own. */
function codes(): string[] {
  const files = readdirSync(join(root, 'packages'), { recursive: true, encoding: 'utf8' });
  const sources = files.filter((file) => /^[\w-]+\/src\/.*\.ts$/.test(file));
  const found = sources.flatMap((file) => {
    const text = readFileSync(join(root, 'packages', file), 'utf8');
    return [...text.matchAll(/'SOLORUN_([A-Z_]+)'/g)].map(([, code]) => code!);
  });
  return [...new Set(found)]
    .filter((code) => !variables.has(code))
    .map((code) => `SOLORUN_${code}`)
    .sort();
}

it('docs/troubleshooting.md has every code of an error or a warning, and no other', () => {
  const page = readFileSync(join(root, 'docs/troubleshooting.md'), 'utf8');
  const headings = [...page.matchAll(/^### (SOLORUN_[A-Z_]+)$/gm)].map(([, code]) => code!);
  expect(codes().length).toBeGreaterThan(25);
  expect(headings.toSorted()).toEqual(codes());
});
