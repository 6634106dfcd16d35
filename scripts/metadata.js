// @ts-check
// Writes into each published package where its sources, issues and pages are, and makes the links of its README absolute. The address is
// that of `repository` in the root's package.json, once.
//   node scripts/metadata.js

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const home = String(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).repository.url).replace(/^git\+|\.git$/g, '');

for (const name of readdirSync(join(root, 'packages'))) {
  const directory = `packages/${name}`;
  const file = join(root, directory, 'package.json');
  const manifest = JSON.parse(readFileSync(file, 'utf8'));
  write(file, `${JSON.stringify(described(manifest, directory), undefined, 2)}\n`);
  const readme = join(root, directory, 'README.md');
  write(readme, linked(readFileSync(readme, 'utf8'), directory));
}

const contacts = join(root, '.github/ISSUE_TEMPLATE/config.yml');
write(contacts, readFileSync(contacts, 'utf8').replaceAll(/https:\/\/\S*?\/blob\/main\//g, `${home}/blob/main/`));

/** @param {Record<string, unknown>} manifest @param {string} directory */
function described({ name, version, description, keywords, license, ...others }, directory) {
  const { homepage: _page, repository: _sources, bugs: _issues, publishConfig: _how, ...rest } = others;
  return {
    name,
    version,
    description,
    keywords,
    homepage: `${home}/tree/main/${directory}#readme`,
    bugs: `${home}/issues`,
    license,
    repository: { type: 'git', url: `git+${home}.git`, directory },
    ...rest,
    // The registry shows from which commit and by which workflow a version was built.
    publishConfig: { access: 'public', provenance: true },
  };
}

/**
 * A README is read on npm's pages, too, where a relative link leads nowhere.
 *
 * @param {string} text @param {string} directory
 */
function linked(text, directory) {
  const blob = `${home}/blob/main/`;
  // Links that were absolute before follow the address when it changes.
  const known = text.replaceAll(/\]\(https:\/\/[^)]*?\/blob\/main\//g, `](${blob}`);
  const relativeLink = /\]\((?![a-z]+:|#)([^)\s]+)\)/g;
  return known.replaceAll(relativeLink, (_, /** @type {string} */ link) => `](${blob}${posix.join(directory, link)})`);
}

/** @param {string} file @param {string} text */
function write(file, text) {
  if (readFileSync(file, 'utf8') === text) return;
  writeFileSync(file, text);
  console.log(`written: ${relative(root, file)}`);
}
