// @ts-check
// The count at the end, in plain words.

import { paint } from './picture.js';

/** Of each kind of finding. */
const SHOWN = 3;

/**
 * @param {NodeJS.WriteStream} stream
 * @param {object} result
 * @param {import('./summary.js').Summary} result.summary
 * @param {number} result.archives How many backups are there and were read back once more.
 * @param {readonly string[]} result.trouble What else went wrong, one sentence each.
 * @returns {boolean} whether all is well
 */
export function report(stream, { summary, archives, trouble }) {
  const { ticks, runs, done, skipped, recovered, missed, duplicates, overlaps, disorder } = summary;
  const color = stream.isTTY && stream.hasColors();
  const write = (/** @type {Parameters<typeof paint>[0]} */ ...pieces) => void stream.write(`${paint(pieces, Infinity, color)}\n`);
  const others = /** @type {const} */ ([
    ['killed', 'killed'],
    ['lost', 'lost the lease'],
    ['found', 'found already made'],
    ['stopped', 'asked to end'],
    ['failed', 'failed'],
  ]).map(([result, text]) => /** @type {const} */ ([runs.filter((run) => run.result === result).length, text]));
  const fates = [[done, 'made'], ...others.filter(([count]) => count > 0)].map((fate) => fate.join(' ')).join(', ');

  /** @param {string} label @param {number} count @param {string} text @param {import('./picture.js').Style} [style] */
  const row = (label, count, text, style = 'bold') =>
    write(
      [`${label.padStart(13)} `],
      [String(count), style],
      [`${' '.repeat(Math.max(1, 5 - String(count).length))}${text}`, 'dim'],
    );
  /** @param {readonly unknown[]} found @returns {import('./picture.js').Style} */
  const shouldBeNone = (found) => (found.length === 0 ? ['bold', 'green'] : ['bold', 'red']);

  write();
  write([`  What ${new Set(runs.map(({ replica }) => replica)).size} replicas wrote down in their journals:`]);
  write();
  row('ticks', ticks, 'times that the clock struck for a backup, on every replica');
  row('runs', runs.length, `backups begun: ${fates}`);
  row('skipped', skipped, 'times that a replica left a tick to another');
  row('duplicates', duplicates.length, 'ticks that were backed up a second time', shouldBeNone(duplicates));
  row('overlaps', overlaps.length, 'backups that ran into one another', shouldBeNone(overlaps));
  row(
    'recovered',
    recovered.length,
    'ticks whose replica died or froze, finished by another',
    recovered.length > 0 ? ['bold', 'cyan'] : ['bold', 'red'],
  );
  row('missed', missed.length, 'ticks let go: they came while an older one was stuck');
  row('archives', archives, 'the newest backups, kept and read back once more: whole');
  write();

  const wrong = [
    ...some(duplicates.map((text) => `A duplicate: ${text}.`)),
    ...some(overlaps.map((text) => `An overlap: ${text}.`)),
    ...some(disorder.map((text) => `A fence that does not grow: ${text}.`)),
    ...(done === 0 ? ['No backup was made.'] : []),
    ...(recovered.length === 0 ? ['No tick was recovered.'] : []),
    ...trouble,
  ];
  for (const text of wrong) write(['  ✗ ', ['bold', 'red']], [text]);
  if (wrong.length === 0)
    write(['  ✓ ', ['bold', 'green']], ['No tick twice, no two at a time, and what the dead began was finished.']);
  write();
  return wrong.length === 0;
}

/** The first few, and how many more there are. @param {readonly string[]} sentences */
function some(sentences) {
  const more = sentences.length - SHOWN;
  return more > 0 ? [...sentences.slice(0, SHOWN), `… and ${more} more of this kind.`] : sentences;
}
