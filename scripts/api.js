#!/usr/bin/env node
// @ts-check
// Writes docs/api: a page for each entry point of each package, made of what the compiler wrote, so run it after a build. A page has each
// name that users may import, types included, with its signature and its doc comment, and the types in these signatures that have no name
// outside. test/public-names.test.ts says when a page is out of date.
//   npm run api

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format } from 'oxfmt';
import { entryPoints, find, isType } from './declarations.js';

/** @import { Declaration, EntryPoint } from './declarations.js' */

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const pagesDirectory = join(root, 'docs/api');

/** The entry point from which other pages link to a declaration. @param {Declaration | string} found @param {string} name */
function homeOf(found, name, /** @type {readonly EntryPoint[]} */ entries) {
  if (typeof found === 'object') return entries.find(({ exported }) => exported.includes(found));
  return entries.find(({ path, exported }) => path === found && exported.some((one) => one.name === name));
}

/** The types in signatures of an entry point that no entry point exports. @param {EntryPoint} entry @param {readonly EntryPoint[]} entries */
function behind({ exported }, entries) {
  const seen = new Set(exported);
  // A set that grows is walked to its end.
  for (const { file, mentions } of seen) {
    for (const name of mentions) {
      const found = find(file, name);
      if (typeof found === 'object' && homeOf(found, name, entries) === undefined) seen.add(found);
    }
  }
  return [...seen].slice(exported.length);
}

/** @returns {Promise<Map<string, string>>} the text of each page by its name */
export async function apiPages() {
  const entries = entryPoints();
  const pages = new Map([['README.md', indexOf(entries)]]);
  for (const entry of entries) pages.set(entry.page, await pageOf(entry, entries));
  return pages;
}

/** @param {readonly EntryPoint[]} entries */
function indexOf(entries) {
  const lines = entries.map(
    ({ path, page, about, exported }) => `| [\`${path}\`](${page}) | ${about.replaceAll('\n', ' ')} | ${exported.length} |`,
  );
  return `# API reference

Each name that a package exports, with its signature and its doc comment. \`npm run api\` makes these pages from the packages. The command
line has [a manual](../cli.md) in place of a page here. [All pages](../README.md).

| import from | | names |
|---|---|---:|
${lines.join('\n')}
`;
}

/** @param {EntryPoint} entry @param {readonly EntryPoint[]} entries */
async function pageOf(entry, entries) {
  const { path, about, exported } = entry;
  const values = exported.filter((one) => !isType(one));
  const types = exported.filter(isType);
  const links = (/** @type {Declaration[]} */ some) => some.map((one) => `[\`${one.name}\`](#${anchorOf(one)})`).join(' · ');
  const parts = [`# \`${path}\``, about];
  if (values.length > 0) parts.push(`**Values:** ${links(values)}`);
  if (types.length > 0) parts.push(`**Types:** ${links(types)}`);
  for (const one of [...values, ...types]) parts.push(await sectionOf(one, entry, entries));
  const rest = behind(entry, entries);
  if (rest.length > 0)
    parts.push('## Parts of these', 'These types appear in the signatures above. No package exports them by name.');
  for (const one of rest) parts.push(await sectionOf(one, entry, entries));
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

/** @param {Pick<Declaration, 'kind' | 'name'>} one */
function anchorOf({ kind, name }) {
  return `${kind}-${name}`.toLowerCase();
}

/** @param {Declaration} one @param {EntryPoint} entry its page @param {readonly EntryPoint[]} entries */
async function sectionOf(one, entry, entries) {
  const code = one.code.replaceAll(/^(?:export )?(?:declare )?/gm, '').replaceAll(/^ +#private;\n/gm, '');
  const { code: formatted, errors } = await format(`${one.name}.d.ts`, code, { printWidth: 110, singleQuote: true });
  if (errors.length > 0) throw new Error(`${relative(root, one.file)}: ${one.name}: ${errors[0]?.message}`);
  const elsewhere = [...new Set(one.mentions)].flatMap((name) => {
    const found = find(one.file, name);
    const home = found === undefined ? undefined : homeOf(found, name, entries);
    const there = home?.exported.find((each) => each.name === name);
    return there === undefined || home === entry || entry.exported.includes(there)
      ? []
      : [`[\`${name}\`](${home?.page}#${anchorOf(there)})`];
  });
  const from = elsewhere.length > 0 ? `From other pages: ${elsewhere.join(', ')}.` : '';
  return [`### ${one.kind} ${one.name}`, fenced(formatted), prose(one.doc), from].filter((part) => part !== '').join('\n\n');
}

/** @param {string} code */
function fenced(code) {
  return `\`\`\`ts\n${code.trimEnd()}\n\`\`\``;
}

/** A doc comment as Markdown. @param {string} doc */
function prose(doc) {
  const [about = '', ...tags] = doc.split(/(?:^|\s+)(?=@(?:param|typeParam|throws|default|example|module)\b)/);
  return [about, ...tags.map(tagged)].filter((part) => part !== '').join('\n\n');
}

/** @param {string} tag */
function tagged(tag) {
  const [, kind = '', text = ''] = /^@(\w+)\s*([\s\S]*)$/.exec(tag) ?? [];
  if (kind === 'example') return `For example:\n\n${fenced(text)}`;
  if (kind === 'throws') return `Throws: ${text}`;
  if (kind === 'default') return `Default: ${text}`;
  const [, name = '', about = ''] = /^([\w.]+)\s*([\s\S]*)$/.exec(text) ?? [];
  return `- \`${name}\`: ${about}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const pages = await apiPages();
  mkdirSync(pagesDirectory, { recursive: true });
  for (const name of readdirSync(pagesDirectory)) if (!pages.has(name)) rmSync(join(pagesDirectory, name));
  for (const [name, text] of pages) writeFileSync(join(pagesDirectory, name), text);
  console.log(`written: ${pages.size} pages in ${relative(root, pagesDirectory)}`);
}
