// @ts-check
// Two ways to tell what happens: a picture that is redrawn, in a terminal, and one line after the other, for everything else.

import { createPicture } from './picture.js';

/** @typedef {import('./journal.js').Entry} Entry */
/**
 * @typedef {import('./incidents.js').Audience & {
 *   add(entry: Entry): void,
 *   finish(): void,
 * }} Narrator
 */

/**
 * @param {NodeJS.WriteStream} stream
 * @param {{ attempts: number, intervalMs: number, seconds: number, store: string, elapsed: () => number }} options
 * @returns {Narrator}
 */
export function narrate(stream, options) {
  return stream.isTTY && process.env['TERM'] !== 'dumb' ? live(stream, options) : plain(stream, options);
}

/**
 * @param {NodeJS.WriteStream} stream
 * @param {Parameters<typeof narrate>[1]} options
 * @returns {Narrator}
 */
function live(stream, { elapsed, ...options }) {
  const picture = createPicture(options);
  const unicode = process.env['TERM'] !== 'linux';
  let drawn = 0;

  function draw() {
    // Some terminals do not know their size, and say 0.
    const [columns, rows] = [stream.columns || 80, stream.rows || 24];
    const lines = picture.draw(elapsed(), { columns, rows, color: stream.hasColors(), unicode });
    const up = drawn > 0 ? `\u001B[${drawn}A` : '';
    // Below the last line may stand what is left of a taller picture.
    stream.write(`${up}${lines.map((line) => `\r${line}\u001B[K\n`).join('')}\u001B[J`);
    drawn = lines.length;
  }
  const showCursor = () => void stream.write('\u001B[?25h');
  const clear = () => {
    stream.write('\u001B[2J\u001B[H');
    drawn = 0;
    draw();
  };

  stream.write('\u001B[?25l');
  process.on('exit', showCursor);
  stream.on('resize', clear);
  const timer = setInterval(draw, 100);

  return {
    add: (entry) => picture.add(entry),
    mark: (what, replica, tick) => picture.mark(what, replica, tick),
    say: (text, tone = 'plain') => picture.say(elapsed(), text, tone),
    finish() {
      clearInterval(timer);
      stream.off('resize', clear);
      picture.finish('ended');
      draw();
      process.off('exit', showCursor);
      showCursor();
    },
  };
}

/** After the end of a run, others tell that they left it alone. */
const OTHERS_TELL_WITHIN_MS = 150;

/**
 * @param {NodeJS.WriteStream} stream
 * @param {Parameters<typeof narrate>[1]} options
 * @returns {Narrator}
 */
function plain(stream, { elapsed, store, seconds }) {
  /** The end of a run that has not been told yet. @type {{ text: string, tick: string, timer: NodeJS.Timeout } | undefined} */
  let pending;
  /** @type {Map<string, Set<string>>} */
  const skippedBy = new Map();
  /** Ticks that were begun, or of which it has been told that they will not be. @type {Set<string>} */
  const known = new Set();
  const line = (/** @type {string} */ text) => void stream.write(`${elapsed().toFixed(1).padStart(5)} s  ${text}\n`);

  function tellEnd() {
    if (pending === undefined) return;
    const { text, tick, timer } = pending;
    clearTimeout(timer);
    pending = undefined;
    const others = [...(skippedBy.get(tick) ?? [])].sort().map((name) => name.replace('replica-', ''));
    line(`${text}${others.length > 0 ? `; skipped by ${others.join(', ')}` : ''}`);
  }

  stream.write(`Solorun: one backup per second on several replicas, for ${seconds} s. Locks: ${store}\n`);
  return {
    add(entry) {
      if (entry.event === 'skipped' && entry.tick !== undefined) {
        skippedBy.set(entry.tick, (skippedBy.get(entry.tick) ?? new Set()).add(entry.replica));
        if (entry.reason === 'superseded' && !known.has(entry.tick)) {
          tellEnd();
          line(`tick ${entry.tick.slice(11, 19)}  nobody: it waited behind a long run, and a later tick goes first`);
          known.add(entry.tick);
        }
      }
      if (entry.event === 'start') {
        tellEnd();
        known.add(entry.tick);
      }
      if (entry.event === 'end') {
        tellEnd();
        if (entry.result !== 'done' && entry.result !== 'found') return line(endedAs(entry));
        pending = { text: endedAs(entry), tick: entry.tick, timer: setTimeout(tellEnd, OTHERS_TELL_WITHIN_MS) };
      }
    },
    mark() {},
    say(text) {
      tellEnd();
      line(text);
    },
    finish: tellEnd,
  };
}

/** @param {Extract<Entry, { event: 'end' }>} entry */
function endedAs({ replica, tick, attempt, result, files, bytes = 0, sha256 = '', error }) {
  const who = `tick ${tick.slice(11, 19)}  ${replica}`;
  const took = attempt > 1 ? `took it over (attempt ${attempt})` : 'ran it';
  switch (result) {
    case 'done':
      return `${who} ${took}: ${files} files, ${(bytes / 1024).toFixed(0)} KiB, sha256 ${sha256.slice(0, 8)}…, read back`;
    case 'found':
      return `${who} ${took}: the backup was there already`;
    case 'lost':
      return `${who} lost its lease and published nothing`;
    case 'stopped':
      return `${who} was asked to end`;
    case 'failed':
      return `${who} failed: ${error}`;
  }
}
