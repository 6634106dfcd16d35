// @ts-check
// Reads which names the packages export, from what the compiler wrote (dist/**/*.d.ts): for the pages of api.js and for
// test/public-names.test.ts.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'oxc-parser';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * @typedef {object} Declaration
 * @property {string} name
 * @property {'function' | 'class' | 'const' | 'interface' | 'type'} kind
 * @property {string} file
 * @property {string} code without its doc comment
 * @property {string} doc
 * @property {readonly string[]} mentions the names in it that may be types
 */

/**
 * @typedef {object} Source a .d.ts file
 * @property {Map<string, Declaration>} declarations
 * @property {Map<string, { from: string, name: string }>} imports by the local name
 * @property {Map<string, { from: string | undefined, name: string }>} exports by the exported name
 * @property {string} about its module comment
 */

/** @typedef {{ readonly path: string, readonly page: string, readonly about: string, readonly exported: readonly Declaration[] }} EntryPoint */

/** @type {Map<string, Source>} */
const sources = new Map();

/** @typedef {{ type: string, start: number, end: number, [key: string]: any }} Node */

/** @type {Readonly<Record<string, Declaration['kind']>>} */
const KINDS = {
  TSDeclareFunction: 'function',
  ClassDeclaration: 'class',
  VariableDeclaration: 'const',
  TSInterfaceDeclaration: 'interface',
  TSTypeAliasDeclaration: 'type',
};

/** @param {string} file @returns {Source} */
function read(file) {
  const known = sources.get(file);
  if (known !== undefined) return known;
  const text = readFileSync(file, 'utf8');
  const { program, comments } = parseSync(file, text);
  const docBefore = (/** @type {number} */ start) => {
    const comment = comments.findLast(({ end }) => end <= start);
    const isDoc = comment?.value.startsWith('*') === true && text.slice(comment.end, start).trim() === '';
    return isDoc ? textOf(comment.value) : '';
  };
  /** @type {Source} */
  const source = { declarations: new Map(), imports: new Map(), exports: new Map(), about: '' };
  const first = comments[0]?.value ?? '';
  if (first.includes('@module')) source.about = textOf(first).replace('@module', '').trim();
  for (const statement of /** @type {Node[]} */ (program.body)) {
    readNames(source, statement, file);
    const node = /** @type {Node} */ (statement['declaration'] ?? statement);
    const kind = KINDS[node.type];
    if (kind === undefined) continue;
    const name = String((node['id'] ?? node['declarations'][0].id).name);
    if (statement !== node) source.exports.set(name, { from: undefined, name });
    const code = text.slice(node.start, node.end);
    const before = source.declarations.get(name);
    source.declarations.set(name, {
      ...{ name, kind, file, mentions: [...(before?.mentions ?? []), ...mentionedIn(node)] },
      // Overloads are one name.
      code: before === undefined ? code : `${before.code}\n${code}`,
      doc: before?.doc ?? docBefore(statement.start),
    });
  }
  sources.set(file, source);
  return source;
}

/** @param {Source} source @param {Node} statement @param {string} file */
function readNames(source, statement, file) {
  const from = resolve(file, statement['source']?.value);
  for (const { type, local, imported, exported } of statement['specifiers'] ?? []) {
    if (type === 'ImportSpecifier' && from !== undefined) source.imports.set(local.name, { from, name: imported.name });
    if (type === 'ExportSpecifier') source.exports.set(exported.name, { from, name: local.name });
  }
}

/** @param {string} file @param {string | undefined} from */
function resolve(file, from) {
  return from?.startsWith('.') === true ? join(dirname(file), from.replace(/\.[jt]s$/, '.d.ts')) : from;
}

/** @param {unknown} node @returns {string[]} */
function mentionedIn(node) {
  if (Array.isArray(node)) return node.flatMap(mentionedIn);
  if (typeof node !== 'object' || node === null) return [];
  const { type, typeName, expression, superClass } = /** @type {Node} */ (node);
  const isHeritage = type === 'TSInterfaceHeritage' || type === 'TSClassImplements';
  const named =
    type === 'TSTypeReference' ? typeName : isHeritage ? expression : type === 'ClassDeclaration' ? superClass : undefined;
  const inside = Object.values(node).flatMap(mentionedIn);
  return named?.type === 'Identifier' ? [String(named.name), ...inside] : inside;
}

/** @param {string} file @param {string} name @returns {Declaration | string | undefined} a declaration, or the package that has it */
export function find(file, name) {
  const { declarations, imports, exports } = read(file);
  const own = declarations.get(name);
  if (own !== undefined) return own;
  const { from, name: there = name } = imports.get(name) ?? exports.get(name) ?? {};
  return from === undefined || !from.startsWith('/') ? from : find(from, there);
}

/** @returns {EntryPoint[]} */
export function entryPoints() {
  return readdirSync(join(root, 'packages'))
    .toSorted()
    .flatMap((directory) => {
      const manifest = join(root, 'packages', directory, 'package.json');
      // A checkout of another branch leaves directories behind.
      if (!existsSync(manifest)) return [];
      const { name, description, exports } = JSON.parse(readFileSync(manifest, 'utf8'));
      const paths = Object.entries(exports).filter(([path]) => path !== './package.json');
      return paths.map(([path, { types }]) =>
        entryPoint(name + path.slice(1), path === '.' ? description : '', join(dirname(manifest), types)),
      );
    });
}

/** @param {string} path @param {string} description @param {string} file @returns {EntryPoint} */
function entryPoint(path, description, file) {
  const { exports, about } = read(file);
  const exported = [...exports.keys()].toSorted().flatMap((name) => {
    const found = find(file, name);
    return typeof found === 'object' ? [found] : [];
  });
  const [firstSentence = ''] = exported.find((one) => !isType(one))?.doc.split(/(?<=\.)\s/) ?? [];
  return {
    path,
    page: `${path.replace('@solorun/', '').replace('/', '-')}.md`,
    about: description || about || firstSentence,
    exported,
  };
}

/** @param {Declaration} one */
export function isType({ kind }) {
  return kind === 'interface' || kind === 'type';
}

/** A comment without its stars. @param {string} comment */
function textOf(comment) {
  return comment.replaceAll(/^[ \t]*\*+[ \t]?/gm, '').trim();
}
