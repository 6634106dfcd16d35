import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { node } from './programs.ts';

const root = join(import.meta.dirname, '..');
const packages = readdirSync(join(root, 'packages'));

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
}

function manifests(directory: string): Manifest[] {
  return packages.map((name) => JSON.parse(readFileSync(join(directory, 'packages', name, 'package.json'), 'utf8')) as Manifest);
}

/** For versions that begin with 0 and ranges of the kind `^0.1.0 || ^0.2.0`. */
function accepts(range: string, version: string): boolean {
  const [, minor, patch] = version.split('.').map(Number);
  return range.split('||').some((part) => {
    const [, lowMinor, lowPatch] = /^\^0\.(\d+)\.(\d+)$/.exec(part.trim())?.map(Number) ?? [];
    return lowMinor === minor && (lowMinor === 0 ? lowPatch === patch : lowPatch! <= patch!);
  });
}

describe('the release that the waiting changesets make', () => {
  const isFirst = manifests(root).every(({ version }) => version === '0.0.0');
  let directory: string;
  let released: Manifest[];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'solorun-release-'));
    cpSync(join(root, '.changeset'), join(directory, '.changeset'), { recursive: true });
    for (const file of ['package.json', ...packages.map((name) => `packages/${name}/package.json`)]) {
      cpSync(join(root, file), join(directory, file));
    }
    const changesets = createRequire(import.meta.url).resolve('@changesets/cli/package.json');
    await node([join(dirname(changesets), 'bin.js'), 'version'], directory);
    released = manifests(directory);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.runIf(isFirst)('is 0.1.0 for every package, if it is the first', () => {
    expect(released.map(({ name, version }) => `${name} ${version}`)).toEqual(manifests(root).map(({ name }) => `${name} 0.1.0`));
  });

  it.each(['before', 'after'])('leaves ranges between the packages that accept them, %s it', (when) => {
    const all = when === 'before' ? manifests(root) : released;
    const versions = new Map(all.map(({ name, version }) => [name, version]));
    const wrong = all.flatMap(({ name, dependencies, devDependencies, peerDependencies }) =>
      [dependencies, devDependencies, peerDependencies]
        .flatMap((ranges) => Object.entries(ranges ?? {}))
        .filter(([other, range]) => versions.has(other) && !accepts(range, versions.get(other)!))
        .map(([other, range]) => `${name} wants ${other} ${range}`),
    );
    expect(wrong).toEqual([]);
  });

  it('links all packages, so that those released together get one number', () => {
    const { linked } = JSON.parse(readFileSync(join(root, '.changeset/config.json'), 'utf8')) as { linked: string[][] };
    expect(linked).toEqual([manifests(root).map(({ name }) => name)]);
  });
});
