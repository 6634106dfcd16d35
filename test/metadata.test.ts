import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const read = (...path: string[]): string => readFileSync(join(root, ...path), 'utf8');

interface Manifest {
  readonly repository: { readonly url: string };
}

/** The one place where the address of the repository is written by hand. */
const { url } = (JSON.parse(read('package.json')) as Manifest).repository;
const home = url.replace(/^git\+|\.git$/g, '');

describe.each(readdirSync(join(root, 'packages')))('the package %s (written by scripts/metadata.js)', (name) => {
  it('says where its sources, its issues and its pages are', () => {
    expect(JSON.parse(read('packages', name, 'package.json'))).toMatchObject({
      repository: { type: 'git', url, directory: `packages/${name}` },
      bugs: `${home}/issues`,
      homepage: `${home}/tree/main/packages/${name}#readme`,
      publishConfig: { access: 'public', provenance: true },
    });
  });

  it('has a README whose links lead somewhere on every site that shows it', () => {
    const links = [...read('packages', name, 'README.md').matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!);
    const inside = links.filter((link) => !link.startsWith('https://') && !link.startsWith('#'));
    expect(inside).toEqual([]);
    const blob = `${home}/blob/main/`;
    const gone = links.filter((link) => link.startsWith(blob) && !existsSync(join(root, link.slice(blob.length).split('#')[0]!)));
    expect(gone).toEqual([]);
  });
});

/** As sites make it of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).map((name) => `docs/${name}`),
].filter((page) => page.endsWith('.md'));

describe.each(pages)('the links of %s', (page) => {
  it('lead to files and headings that exist', () => {
    const links = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!).filter((link) => !/^[a-z]+:/.test(link));
    const dead = links.filter((link) => {
      const [path = '', anchor] = link.split('#');
      const file = join(root, path === '' ? page : join(page, '..', path));
      if (!existsSync(file)) return true;
      if (anchor === undefined || !file.endsWith('.md')) return false;
      const headings = [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading!));
      return !headings.includes(anchor);
    });
    expect(dead).toEqual([]);
  });

  it('lead to the functions that they name', () => {
    const named = [...read(page).matchAll(/\[`(\w+)`\]\(([^)\s]+\.[jt]s)\)/g)];
    const gone = named.filter(([, name, path]) => !readFileSync(join(root, page, '..', path!), 'utf8').includes(name!));
    expect(gone.map(([link]) => link)).toEqual([]);
  });
});
