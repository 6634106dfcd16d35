// @ts-check
// What goes wrong while the backups go on. Each step waits for what it sees in the journals, not for time to pass.

import { now } from './journal.js';

/** @typedef {import('./journal.js').Entry} Entry */
/** @typedef {Extract<Entry, { event: 'step' }>} Step */
/** @typedef {Extract<Entry, { event: 'start' }>} Start */
/** @typedef {Extract<Entry, { event: 'end' }>} End */

/**
 * Who is told, for the picture.
 *
 * @typedef {object} Audience
 * @property {(text: string, tone?: 'good' | 'bad' | 'plain') => void} say
 * @property {(what: 'starting' | 'killed' | 'frozen' | 'woken', replica: string, tick?: string) => void} mark
 */

/** Of the steps in which a run packs files: deep in the middle of it. */
const MIDDLE = 12;
/** An incident comes too late if the run was over in the meantime: then another tick is tried. */
const TRIES = 5;
const SOON_MS = 15_000;

/**
 * @param {object} options
 * @param {import('./fleet.js').Fleet} options.fleet
 * @param {import('./watch.js').Watch} options.watch
 * @param {Audience} options.audience
 * @param {readonly string[]} options.replicas At the start.
 * @param {readonly string[]} options.extra Scaled up by accident.
 * @param {number} options.leaseMs
 * @param {number} options.calm How many ticks go well between two incidents.
 */
export async function play({ fleet, watch, audience, replicas, extra, leaseMs, calm }) {
  const { say, mark } = audience;

  await bring(replicas);
  say(`${listed(replicas)} are up. Each fires every second; one of them makes the backup.`);
  await goWell(calm);

  say(`Scaled up by accident: ${listed(extra)} start as well.`, 'bad');
  await bring(extra);
  await goWell(calm);

  const { struck: killed, next: heir } = await strike('killed', async ({ replica, fence, tick }) => {
    const at = now();
    await fleet.kill(replica);
    watch.look();
    if (hasEnded(fence)) {
      await bring([replica]);
      return undefined;
    }
    mark('killed', replica, tick);
    say(`${replica} is killed (SIGKILL) in the middle of a backup.`, 'bad');
    return at;
  });
  await endOf(heir);
  await bring([killed.replica]);
  say(`${killed.replica} is started again, as an orchestrator would.`);
  await goWell(calm);

  const { struck: frozen, next: successor } = await strike('frozen', async ({ replica, fence, tick }) => {
    const at = now();
    fleet.freeze(replica);
    watch.look();
    if (hasEnded(fence)) {
      fleet.wake(replica);
      return undefined;
    }
    mark('frozen', replica, tick);
    say(`${replica} is frozen (SIGSTOP) in the middle of a backup. Its lease has ${leaseMs / 1000} s.`, 'bad');
    return at;
  });
  // It wakes while the other is at work: would it carry on, the two would overlap.
  fleet.wake(frozen.replica);
  mark('woken', frozen.replica);
  const { result } = await endOf(frozen);
  if (result !== 'lost') throw new Error(`${frozen.replica} was frozen beyond its lease, and its run ended as "${result}".`);
  say(`${frozen.replica} wakes up (SIGCONT), finds its lease lost and stops: it publishes nothing.`, 'good');
  await endOf(successor);

  /** @param {readonly string[]} names */
  async function bring(names) {
    await Promise.all(
      names.map((name) => {
        fleet.start(name);
        mark('starting', name);
        return watch.until(`${name} to start`, SOON_MS, (entry) => entry.event === 'up' && entry.replica === name);
      }),
    );
  }

  /** @param {number} ticks */
  async function goWell(ticks) {
    for (let done = 0; done < ticks; done += 1) {
      await watch.until('a backup to be made', SOON_MS, (entry) => entry.event === 'end' && entry.result === 'done');
    }
  }

  /**
   * Does something to the replica that holds the lock, in the middle of a run, and waits for another to go on.
   *
   * @param {string} what
   * @param {(run: Step) => Promise<number | undefined>} blow When it fell; undefined if it came too late.
   */
  async function strike(what, blow) {
    for (let tries = 1; tries <= TRIES; tries += 1) {
      const run = await middleOfRun();
      const since = watch.entries.length;
      const at = await blow(run);
      if (at === undefined) continue;
      const start = await watch.until(
        `another replica to take over from ${run.replica}`,
        leaseMs + SOON_MS,
        /** @returns {entry is Start} */
        (entry) => entry.event === 'start' && BigInt(entry.fence) > BigInt(run.fence),
        since,
      );
      const after = start.at - at < 1000 ? `${Math.round(start.at - at)} ms` : `${((start.at - at) / 1000).toFixed(1)} s`;
      if (start.tick === run.tick)
        say(`${start.replica} took the same tick over, ${after} later: attempt ${start.attempt}.`, 'good');
      else say(`${start.replica} got the lock, ${after} later, for a later tick.`, 'plain');
      return { struck: run, next: start };
    }
    throw new Error(`No replica could be ${what} in the middle of a run: each of ${TRIES} runs was over too soon.`);
  }

  /** A run that starts from now on, once it has done a part of its work. @returns {Promise<Step>} */
  function middleOfRun() {
    /** @type {Map<string, number>} */
    const packed = new Map();
    return watch.until(
      'a run to be in the middle of its work',
      SOON_MS,
      /** @returns {entry is Step} */
      (entry) => {
        if (entry.event === 'start') packed.set(entry.fence, 0);
        if (entry.event !== 'step' || entry.step !== 'pack') return false;
        const count = (packed.get(entry.fence) ?? Number.NaN) + 1;
        packed.set(entry.fence, count);
        return count === MIDDLE;
      },
    );
  }

  /** How a run ended, or when it does. @param {{ replica: string, fence: string }} run @returns {Promise<End>} */
  function endOf({ replica, fence }) {
    return watch.until(
      `${replica} to end its run`,
      SOON_MS,
      /** @returns {entry is End} */
      (entry) => entry.event === 'end' && entry.fence === fence,
      0,
    );
  }

  /** @param {string} fence */
  function hasEnded(fence) {
    return watch.entries.some((entry) => entry.event === 'end' && entry.fence === fence);
  }
}

/** @param {readonly string[]} names */
function listed(names) {
  return new Intl.ListFormat('en').format(names);
}
