// @ts-check
// The picture: a row for each replica, a column for each tick. Pure: what has been told goes in, lines of text come out.

import { styleText } from 'node:util';
import { summarize } from './summary.js';

/** @typedef {import('./journal.js').Entry} Entry */
/** @typedef {'running' | 'ran' | 'tookOver' | 'skipped' | 'killed' | 'frozen' | 'lost' | 'stopped'} Cell */
/** @typedef {Parameters<typeof styleText>[0]} Style */
/** @typedef {readonly [text: string, style?: Style | undefined]} Piece */

/** @type {Record<Cell, { symbol: string, plain: string, style: Style, legend?: string }>} */
const CELLS = {
  ran: { symbol: '●', plain: 'O', style: 'green', legend: 'made the backup' },
  tookOver: { symbol: '◆', plain: '@', style: ['bold', 'cyan'], legend: 'took it over' },
  skipped: { symbol: '·', plain: '.', style: 'dim', legend: 'left it to another' },
  killed: { symbol: '×', plain: 'x', style: ['bold', 'red'], legend: 'killed' },
  frozen: { symbol: '‖', plain: '"', style: ['bold', 'yellow'], legend: 'frozen' },
  lost: { symbol: '○', plain: 'o', style: ['bold', 'magenta'], legend: 'lost its lease' },
  stopped: { symbol: '-', plain: '-', style: 'dim' },
  running: { symbol: '◌', plain: '*', style: 'yellow' },
};
const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** @type {Record<string, Style>} */
const STATES = {
  'backing up': 'yellow',
  killed: ['bold', 'red'],
  frozen: ['bold', 'yellow'],
  'standing by': 'dim',
  'starting …': 'dim',
  ended: 'dim',
};
/** @type {Record<string, Style | undefined>} */
const TONES = { good: 'cyan', bad: 'yellow', plain: undefined };

const COLUMN = 2;
const NEWS = 8;

/**
 * @typedef {object} Canvas
 * @property {number} columns
 * @property {number} rows
 * @property {boolean} color
 * @property {boolean} unicode
 */

/**
 * @param {{ attempts: number, intervalMs: number, seconds: number, store: string }} options
 */
export function createPicture({ attempts, intervalMs, seconds, store }) {
  /** @type {Entry[]} */
  const entries = [];
  /** @type {Map<string, { cells: Map<string, Cell>, state: string }>} */
  const rows = new Map();
  /** @type {{ seconds: number, text: string, tone: string }[]} */
  const news = [];
  let frame = 0;

  /** @param {string} replica */
  function row(replica) {
    const known = rows.get(replica);
    if (known !== undefined) return known;
    const fresh = { cells: new Map(), state: 'starting …' };
    rows.set(replica, fresh);
    return fresh;
  }

  return {
    /** What a replica wrote. @param {Entry} entry */
    add(entry) {
      entries.push(entry);
      const { cells, state } = row(entry.replica);
      const become = (/** @type {string} */ next) => {
        row(entry.replica).state = next;
      };
      if (entry.event === 'up') become('standing by');
      if (entry.event === 'start') {
        // What is read after its replica was killed does not bring it to life.
        if (state !== 'killed') become('backing up');
        cells.set(entry.tick, 'running');
      }
      if (entry.event === 'end') {
        become('standing by');
        cells.set(entry.tick, endedAs(entry));
      }
      if (entry.event === 'skipped' && entry.tick !== undefined && !cells.has(entry.tick)) cells.set(entry.tick, 'skipped');
    },

    /** What was done to a replica. @type {import('./incidents.js').Audience['mark']} */
    mark(what, replica, tick) {
      row(replica).state = what === 'starting' ? 'starting …' : what === 'woken' ? 'standing by' : what;
      if (tick !== undefined && (what === 'killed' || what === 'frozen')) row(replica).cells.set(tick, what);
    },

    /** @param {number} at in seconds @param {string} text @param {string} tone */
    say(at, text, tone) {
      news.push({ seconds: at, text, tone });
    },

    /** @param {string} state of all that run */
    finish(state) {
      for (const each of rows.values()) if (each.state !== 'killed') each.state = state;
    },

    /**
     * @param {number} elapsed in seconds
     * @param {Canvas} canvas
     * @returns {string[]}
     */
    draw(elapsed, { columns, rows: height, color, unicode }) {
      frame += 1;
      const width = Math.max(24, columns - 1);
      const label = Math.max(4, ...[...rows.keys()].map((name) => name.length)) + 3;
      const state = width >= 60 ? 13 : 0;
      const room = Math.max(1, Math.floor((width - label - state) / COLUMN));
      const all = summarize(entries, { attempts, intervalMs });
      const ticks = allTicks(rows.values()).slice(-room);

      /** @param {Cell | undefined} cell @returns {Piece} */
      const drawn = (cell) => {
        if (cell === undefined) return [' '];
        const { symbol, plain, style } = CELLS[cell];
        if (!unicode) return [plain, style];
        return [cell === 'running' ? (SPINNER[frame % SPINNER.length] ?? symbol) : symbol, style];
      };

      /** @type {Piece[][]} */
      const lines = [];
      lines.push([]);
      lines.push([[' Solorun', ['bold', 'cyan']], [`  ${rows.size} replicas, one backup per second`], [`  ${store}`, 'dim']]);
      lines.push([]);
      lines.push([
        [' tick'.padEnd(label), 'dim'],
        [tickLabels(ticks, room * COLUMN + 1), 'dim'],
        [clock(elapsed), 'dim'],
      ]);
      for (const [replica, { cells, state: now }] of rows) {
        lines.push([
          [` ${replica}`.padEnd(label), now === 'backing up' ? 'bold' : undefined],
          .../** @type {Piece[]} */ (ticks.flatMap((tick) => [drawn(cells.get(tick)), [' ']])),
          ...(state === 0
            ? []
            : [/** @type {Piece} */ ([' '.repeat((room - ticks.length) * COLUMN + 1)]), /** @type {Piece} */ ([now, STATES[now]])]),
        ]);
      }
      lines.push([]);
      lines.push(...legend(width, drawn));
      lines.push([]);
      lines.push([
        [' runs '],
        [String(all.runs.length), 'bold'],
        [' · duplicates '],
        verdict(all.duplicates.length === 0, all.duplicates.length),
        [' · overlaps '],
        verdict(all.overlaps.length === 0, all.overlaps.length),
        [' · recovered '],
        [String(all.recovered.length), all.recovered.length > 0 ? ['bold', 'cyan'] : 'bold'],
      ]);
      const space = Math.min(NEWS, height - lines.length - 2);
      if (space > 0) {
        lines.push([]);
        lines.push(...latest(space, width));
      }
      // What is taller than the terminal cannot be drawn over.
      return lines.slice(0, Math.max(1, height - 1)).map((line) => paint(line, width, color));
    },
  };

  /** As much of the news as there is room for, none of it cut in half. @param {number} space @param {number} width */
  function latest(space, width) {
    /** @type {Piece[][]} */
    let lines = [];
    for (const { seconds: at, text, tone } of news.toReversed()) {
      const parts = wrap(text, width - 10).map((part, index) => {
        const time = index === 0 ? `${at.toFixed(1).padStart(6)} s  ` : ' '.repeat(10);
        return /** @type {Piece[]} */ ([
          [time, 'dim'],
          [part, TONES[tone]],
        ]);
      });
      if (lines.length + parts.length > space) break;
      lines = [...parts, ...lines];
    }
    return lines;
  }

  /** @param {number} elapsed */
  function clock(elapsed) {
    return `${Math.floor(Math.min(elapsed, seconds))} s of ${seconds} s`;
  }
}

/** @param {Extract<Entry, { event: 'end' }>} entry @returns {Cell} */
function endedAs({ result, attempt }) {
  if (result === 'lost') return 'lost';
  if (result === 'done' || result === 'found') return attempt > 1 ? 'tookOver' : 'ran';
  return 'stopped';
}

/** @param {Iterable<{ cells: Map<string, Cell> }>} rows */
function allTicks(rows) {
  return [...new Set([...rows].flatMap(({ cells }) => [...cells.keys()]))].sort();
}

/** `:05` above every fifth second. @param {readonly string[]} ticks @param {number} width */
function tickLabels(ticks, width) {
  let text = '';
  for (const [index, tick] of ticks.entries()) {
    const second = tick.slice(17, 19);
    if (Number(second) % 5 === 0 && text.length <= index * COLUMN) text = `${text.padEnd(index * COLUMN)}:${second}`;
  }
  return text.padEnd(width);
}

/**
 * @param {number} width
 * @param {(cell: Cell) => Piece} drawn
 */
function legend(width, drawn) {
  /** @type {Piece[][]} */
  const lines = [[]];
  let used = 0;
  for (const [cell, { legend: text }] of Object.entries(CELLS)) {
    if (text === undefined) continue;
    const length = text.length + 5;
    if (used > 0 && used + length > width) {
      lines.push([]);
      used = 0;
    }
    used += length;
    lines.at(-1)?.push([' '], drawn(/** @type {Cell} */ (cell)), [` ${text}  `, 'dim']);
  }
  return lines;
}

/** @param {boolean} good @param {number} count @returns {Piece} */
function verdict(good, count) {
  return [String(count), good ? ['bold', 'green'] : ['bold', 'red']];
}

/** @param {string} text @param {number} width */
function wrap(text, width) {
  /** @type {string[]} */
  const lines = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/**
 * One line, cut to the width.
 *
 * @param {readonly Piece[]} pieces
 * @param {number} width
 * @param {boolean} color
 */
export function paint(pieces, width, color) {
  let left = width;
  let line = '';
  for (const [text, style] of pieces) {
    const part = text.slice(0, left);
    left -= part.length;
    line += color && style !== undefined && part !== '' ? styleText(style, part) : part;
  }
  return line;
}
