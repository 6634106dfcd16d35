// @ts-check
// What happened, from nothing but what the replicas wrote down. The words are defined here.

/** @typedef {import('./journal.js').Entry} Entry */
/** @typedef {import('./journal.js').Result} Result */

/**
 * One run of the handler.
 *
 * - It starts with its `start` line: the first thing that the handler does.
 * - It ends at **the last moment at which it may have acted**. For a run that came to its end under its lease that is its `end` line,
 *   the last thing that the handler does. A killed run has none: it acted until its last line at least, and whoever follows it can
 *   follow only because it is dead. A run that lost its lease writes its `end` line whenever it wakes, and acts no more: it ends with
 *   the last step that `checkpoint()` let it take.
 *
 * @typedef {object} Run
 * @property {string} tick
 * @property {string} replica
 * @property {bigint} fence
 * @property {number} attempt
 * @property {number} startedAt
 * @property {number} endedAt
 * @property {Result | 'killed'} result
 */

/**
 * @typedef {object} Summary
 * @property {number} ticks How often the clock struck, from the first tick that anybody wrote of to the last.
 * @property {Run[]} runs All that started.
 * @property {number} done Runs that made a backup.
 * @property {number} skipped How often a replica left a tick to another.
 * @property {string[]} recovered Ticks that were done (or found done) by a later attempt, because an earlier one was killed or lost.
 * @property {string[]} missed Ticks that were never done, though nobody asked the replica that ran them to end.
 * @property {string[]} duplicates One sentence each. A duplicate is a run too many: a second backup made of one tick, one attempt that
 *   was started twice, or an attempt beyond those allowed.
 * @property {string[]} overlaps One sentence each. An overlap is a pair of runs, of whatever ticks, one of which started before the
 *   other had ended.
 * @property {string[]} disorder One sentence each: a run whose fence is not greater than those of all runs that started before it.
 */

/**
 * @param {readonly Entry[]} entries in any order
 * @param {{ attempts: number, intervalMs: number }} schedule
 * @returns {Summary}
 */
export function summarize(entries, { attempts, intervalMs }) {
  const runs = runsOf(entries);
  const ticks = ticksOf(entries, intervalMs);
  const byTick = groupByTick(runs);
  const isDone = (/** @type {Run} */ run) => run.result === 'done' || run.result === 'found';
  return {
    ticks: ticks.length,
    runs,
    done: runs.filter((run) => run.result === 'done').length,
    skipped: entries.filter(isSkip).length,
    recovered: ticks.filter((tick) => byTick.get(tick)?.some((run) => run.attempt > 1 && isDone(run))),
    missed: ticks.filter((tick) => !byTick.get(tick)?.some((run) => isDone(run) || run.result === 'stopped')),
    duplicates: [...byTick.values()].flatMap((ofTick) => duplicatesOf(ofTick, attempts)),
    overlaps: overlapsOf(runs),
    disorder: disorderOf(runs),
  };
}

/**
 * By the time of their start.
 *
 * @param {readonly Entry[]} entries
 * @returns {Run[]}
 */
export function runsOf(entries) {
  /** @type {Run[]} */
  const runs = [];
  /** @type {Map<string, Run>} */
  const open = new Map();
  for (const entry of [...entries].sort((a, b) => a.at - b.at)) {
    if (entry.event !== 'start' && entry.event !== 'step' && entry.event !== 'end') continue;
    const { replica, tick, fence, attempt, at } = entry;
    const key = `${replica} ${tick} ${fence} ${attempt}`;
    if (entry.event === 'start') {
      const run = {
        tick,
        replica,
        fence: BigInt(fence),
        attempt,
        startedAt: at,
        endedAt: at,
        result: /** @type {const} */ ('killed'),
      };
      open.set(key, run);
      runs.push(run);
      continue;
    }
    const run = open.get(key);
    if (run === undefined) throw new Error(`${replica} wrote of a run that it had not started: ${JSON.stringify(entry)}`);
    if (entry.event === 'end') run.result = entry.result;
    if (entry.event === 'step' || entry.result !== 'lost') run.endedAt = at;
  }
  return runs;
}

/**
 * Every tick from the first to the last, also those that nobody wrote of.
 *
 * @param {readonly Entry[]} entries
 * @param {number} intervalMs
 */
function ticksOf(entries, intervalMs) {
  const known = entries
    .filter((entry) => entry.event === 'start' || isSkip(entry))
    .flatMap(({ tick }) => (tick === undefined ? [] : [Date.parse(tick)]));
  if (known.length === 0) return [];
  const first = Math.min(...known);
  const count = Math.floor((Math.max(...known) - first) / intervalMs) + 1;
  return Array.from({ length: count }, (_, index) => new Date(first + index * intervalMs).toISOString());
}

/**
 * A replica that ends leaves no tick to another: it just ends.
 *
 * @param {Entry} entry
 * @returns {entry is Extract<Entry, { event: 'skipped' }>}
 */
function isSkip(entry) {
  return entry.event === 'skipped' && entry.reason !== 'closed';
}

/** @param {readonly Run[]} runs */
function groupByTick(runs) {
  /** @type {Map<string, Run[]>} */
  const groups = new Map();
  for (const run of runs) groups.set(run.tick, [...(groups.get(run.tick) ?? []), run]);
  return groups;
}

/**
 * @param {readonly Run[]} runs all of one tick
 * @param {number} attempts
 */
function duplicatesOf(runs, attempts) {
  return runs.flatMap((run, index) => {
    const earlier = runs.slice(0, index);
    const done = run.result === 'done' && earlier.find((other) => other.result === 'done');
    const same = earlier.find((other) => other.attempt === run.attempt);
    if (done) return [`${say(run)} made a second backup, after ${say(done)}`];
    if (same) return [`${say(run)} started attempt ${run.attempt} again, after ${say(same)}`];
    if (run.attempt > attempts || index >= attempts) return [`${say(run)} started beyond the ${attempts} attempts allowed`];
    return [];
  });
}

/** @param {readonly Run[]} runs by start */
function overlapsOf(runs) {
  return runs.flatMap((run, index) =>
    runs
      .slice(0, index)
      .filter((earlier) => run.startedAt < earlier.endedAt)
      .map((earlier) => {
        const ms = Math.min(earlier.endedAt, run.endedAt) - run.startedAt;
        return `${say(run)} started while ${say(earlier)} was at work: ${ms.toFixed(1)} ms together`;
      }),
  );
}

/** @param {readonly Run[]} runs by start */
function disorderOf(runs) {
  return runs.flatMap((run, index) => {
    const before = runs.slice(0, index).find((earlier) => earlier.fence >= run.fence);
    return before === undefined ? [] : [`${say(run)} followed ${say(before)}, whose fence is not smaller`];
  });
}

/** @param {Run} run */
function say({ replica, tick, attempt, fence }) {
  return `${replica} (tick ${tick.slice(11, 19)}, attempt ${attempt}, fence ${fence})`;
}
