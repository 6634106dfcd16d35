#!/usr/bin/env node
// @ts-check
// Prints how large the rooms of this house are: files, functions, and sentences in comments that are hard to read. It forbids nothing. A
// table or a state machine that is one idea may be long.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parseSync, Visitor } from 'oxc-parser';

/** @import { VisitorObject } from 'oxc-parser' */

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const HELP = `Prints the size of files and functions of the packages, and which comments are hard to read.

Usage: npm run rooms -- [options] [DIRECTORY …]

  --sentences  each sentence that is counted, with its place
  -h, --help   this text

Without a directory: the sources of all packages, without their tests, and the promises that one run makes with each provider (needs
the packages built, and starts servers of its own).
`;

/** Functions that are longer are listed. */
const LONG = 60;

/** A sentence that begins with a clause and not with its subject (CONTRIBUTING.md, "Plain English"). */
const HEADLESS = /^(?:Who|Whoever|Whose|What|Whatever|Those who|Those that)\b[^?]*$/;

/** Words for which there is a plainer one. */
const RETIRED = /\b(?:whoever|somebody|those who|is told|are told|at hand|looks again|head of the line)\b/i;

/**
 * @typedef {object} Place
 * @property {string} file
 * @property {number} line
 */

/** @typedef {Place & { readonly name: string, readonly lines: number }} Room A function. */
/** @typedef {Place & { readonly text: string }} Sentence */

/** @typedef {{ readonly file: string, readonly lines: number, readonly rooms: Room[], readonly sentences: Sentence[] }} Source */

const { help, listed, directories } = readArguments();
if (help) console.log(HELP);
else show();

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { sentences: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false } },
    });
    return { help: values.help, listed: values.sentences, directories: positionals };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    return process.exit(64);
  }
}

function show() {
  const packages = join(root, 'packages');
  const chosen = directories.length > 0 ? directories : readdirSync(packages).map((name) => join(packages, name, 'src'));
  const sources = chosen.flatMap(filesIn).map(readSource);
  const lengths = sources.map(({ lines }) => lines).toSorted((a, b) => a - b);
  const rooms = sources.flatMap((source) => source.rooms).toSorted((a, b) => b.lines - a.lines);
  const sentences = sources.flatMap((source) => source.sentences);
  const headless = sentences.filter(({ text }) => HEADLESS.test(text));
  const retired = sentences.filter(({ text }) => RETIRED.test(text));
  const share = ((100 * headless.length) / Math.max(1, sentences.length)).toFixed(1);
  console.log(`files                     ${sources.length}`);
  console.log(`  lines, median / max     ${lengths[lengths.length >> 1]} / ${lengths.at(-1)}`);
  console.log(`functions                 ${rooms.length}`);
  console.log(`  longest                 ${rooms[0]?.lines}`);
  console.log(`  of more than 100 lines  ${rooms.filter(({ lines }) => lines > 100).length}`);
  console.log(`sentences in comments     ${sentences.length}`);
  console.log(`  that open headless      ${headless.length} (${share} %)`);
  console.log(`  with a retired word     ${retired.length}`);
  if (directories.length === 0) showPromises();
  const long = rooms.filter(({ lines }) => lines > LONG);
  if (long.length > 0) console.log(`\nFunctions of more than ${LONG} lines:`);
  for (const { name, lines, ...place } of long) console.log(`  ${String(lines).padStart(4)}  ${name}  ${at(place)}`);
  if (!listed) return;
  for (const [title, found] of /** @type {const} */ ([
    ['Headless', headless],
    ['With a retired word', retired],
  ])) {
    console.log(`\n${title}:`);
    for (const { text, ...place } of found) console.log(`  ${at(place)}  ${text}`);
  }
}

function showPromises() {
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(root, 'bench', 'src', 'promises.js')], { encoding: 'utf8' });
  if (status !== 0) return console.log(`promises per run          not counted: ${stderr.trim().split('\n')[0]}`);
  console.log('promises per run');
  for (const line of stdout.trim().split('\n')) {
    const [provider = '', ...figure] = line.split(/ +/);
    console.log(`  ${provider.padEnd(24)}${figure.join(' ')}`);
  }
}

/** @param {Place} place */
function at({ file, line }) {
  return `${relative(root, file)}:${line}`;
}

/** @param {string} directory @returns {string[]} */
function filesIn(directory) {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => /(?<!\.d)\.(?:ts|js)$/.test(name) && !/(?:^|\/)(?:node_modules|dist)\//.test(name))
    .map((name) => join(directory, name));
}

/** @param {string} file @returns {Source} */
function readSource(file) {
  const text = readFileSync(file, 'utf8');
  const { program, comments, errors } = parseSync(file, text);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0]?.message}`);
  const lineOf = (/** @type {number} */ offset) => text.slice(0, offset).split('\n').length;
  /** @type {Room[]} */
  const rooms = [];
  /** The names that functions without one are known by, by where they begin. @type {Map<number, string>} */
  const names = new Map();
  /** @param {{ start: number, end: number, id?: { name: string } | null }} node */
  const measure = ({ start, end, id }) => {
    const [first, last] = [lineOf(start), lineOf(end)];
    rooms.push({ file, line: first, name: id?.name ?? names.get(start) ?? 'a function without a name', lines: last - first + 1 });
  };
  /** @type {VisitorObject} */
  const visitor = {
    FunctionDeclaration: measure,
    FunctionExpression: measure,
    ArrowFunctionExpression: measure,
    VariableDeclarator({ id, init }) {
      if (init !== null && id.type === 'Identifier') names.set(init.start, id.name);
    },
    Property({ key, value }) {
      names.set(value.start, text.slice(key.start, key.end));
    },
    MethodDefinition({ key, value }) {
      names.set(value.start, text.slice(key.start, key.end));
    },
  };
  new Visitor(visitor).visit(program);
  const sentences = joined(comments, text).flatMap(({ start, value }) =>
    sentencesOf(value).map((sentence) => ({ file, line: lineOf(start), text: sentence })),
  );
  return { file, lines: text.split('\n').length - 1, rooms, sentences };
}

/**
 * Comments of `//` that follow one another are one.
 *
 * @param {readonly { type: string, value: string, start: number, end: number }[]} comments
 * @param {string} text
 */
function joined(comments, text) {
  /** @type {{ type: string, value: string, start: number, end: number }[]} */
  const all = [];
  for (const comment of comments) {
    const last = all.at(-1);
    const goesOn = last?.type === 'Line' && comment.type === 'Line' && /^\n[ ]*$/.test(text.slice(last.end, comment.start));
    if (last !== undefined && goesOn) Object.assign(last, { value: `${last.value}\n${comment.value}`, end: comment.end });
    else all.push({ ...comment });
  }
  return all;
}

/** @param {string} comment @returns {string[]} */
function sentencesOf(comment) {
  const prose = comment
    .replaceAll(/^\s*\*+ ?/gm, '')
    .replaceAll(/@\w+(?: \{[^}]*\})?/g, '\n\n')
    .replaceAll(/^\s*- /gm, '\n\n');
  return prose
    .split(/\n\s*\n/)
    .flatMap((paragraph) => paragraph.replaceAll(/\s+/g, ' ').split(/(?<=[.?!:]) (?=[A-Z])/))
    .map((sentence) => sentence.trim())
    .filter((sentence) => /^[A-Z].* /.test(sentence));
}
