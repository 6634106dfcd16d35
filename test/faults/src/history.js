// @ts-check
// The checker: reads what a fleet wrote down, and finds what a promise of docs/guarantees.md rules out. Its input is what was promised
// (`Expectations`), never what the code does. A violation it reports is certain: a line's time is read before the lease is asked, so the
// lease was trusted after it, and a run's beginning is written by its handler, so its lock was granted before it.

/** @import { Line } from './journal.js' */

/**
 * - `overlap`: a run trusted its lease after a later run of the same lock had begun (G1, G2).
 * - `untrusted begin`: a handler was called with a lease that was over (G2).
 * - `fence order`: a run had no greater fence than one that began before it (G3).
 * - `duplicate`: more runs of one occurrence began than `attempts` allows, or one began after another's release was confirmed (G4).
 * - `out of order`: an occurrence began by a later lease than a newer one (G4).
 * - `early`: a run began before its scheduled time (G4).
 * - `unrun`: the answer was that an occurrence is done, and no run of it had come to its end (G4).
 * - `told too late`: a listener of `signal` heard of the loss after a later run had begun, by more than its event loop stood still (G2).
 * - `lost for nothing`: a lease was lost, or a provider could not be asked, although nothing was done to any process or server.
 * - `ran while paused`: a run that was asked for after a pause of its lock had been confirmed began before the pause was over (docs of `pause`).
 * - `late take-over`: a killed holder was followed later than the docs promise, though a replica was up for all that time (G5).
 * - `lost update`: what runs had counted in a store that checks fences is not what they were told (G3).
 * - `wedged`: after all faults were mended, a replica that lives had no answer any more, or no run of a lock began (G5, G8).
 * - `hangs`: a replica did not end after `close()`; `left open`: it ended, and left timers, sockets, files or sessions (docs of `close`).
 * - `crashed`: a replica ended by itself.
 *
 * @typedef {'overlap' | 'untrusted begin' | 'fence order' | 'duplicate' | 'out of order' | 'early' | 'unrun' | 'told too late' |
 *   'lost for nothing' | 'late take-over' | 'ran while paused' | 'lost update' | 'wedged' | 'hangs' | 'left open' | 'crashed'} ViolationKind
 */

/**
 * @typedef {object} Violation
 * @property {ViolationKind} kind
 * @property {string} name The lock, or the worker.
 * @property {string} detail
 * @property {number} [t] When it happened.
 * @property {number} [lengthMs] How long it lasted, for `overlap` and `told too late`.
 */

/**
 * @typedef {object} Expectations
 * @property {number} attempts Of an occurrence.
 * @property {boolean} calm No fault was injected: a lease that is lost is a violation.
 * @property {readonly string[]} [names] The locks that the workload uses. Each of them is used after the last fault.
 * @property {number} [takeOverMs] A killed holder is followed within this by a replica that is up; without it `late take-over` is not checked.
 * @property {number} [mendedAt] When the last fault was over. Every live replica has answers from then on.
 * @property {number} [wallOffsetMs] What to add to `t` for the provider's wall clock; without it `early` is not checked.
 */

/**
 * One run of a handler, as its worker wrote it down.
 *
 * @typedef {object} Run
 * @property {Line} begin
 * @property {number} trustedAt The last time at which it is certain that it trusted its lease.
 * @property {number} unawareAt Until when its listener had certainly not been called.
 * @property {number | undefined} toldAt When it was.
 */

/**
 * @typedef {object} Figures
 * @property {number} asked Requests for a lock.
 * @property {number} ran Runs that began.
 * @property {number} lost
 * @property {number} refused Requests that could not be made: the provider could not be asked.
 * @property {number} faults
 * @property {number | undefined} worstRecoveryMs From the end of a fault to the next run that began.
 * @property {number | undefined} worstTakeOverMs From the death of a holder to the next run of its lock.
 */

/** Timers of a busy machine are late by as much, in ms; what listens is allowed it. */
const LATE_TIMER_MS = 100;
/** A busy machine takes a process's turn away for as long, in ms, also between the look at the clock and the call of the handler. */
const PREEMPTED_MS = 20;
/** Wall clocks are read in whole ms, by several processes. */
const CLOCK_READING_MS = 2;

/**
 * @param {readonly Line[]} lines in the order of their times
 * @param {Expectations} expected
 * @returns {Violation[]}
 */
export function check(lines, expected) {
  const byName = grouped(runsOf(lines), ({ begin }) => String(begin.name));
  const violations = [...byName].flatMap(([name, runs]) => [
    ...untrusted(name, runs),
    ...overlaps(name, runs),
    ...disordered(name, runs),
    ...duplicates(name, runs, lines, expected),
    ...outOfOrder(name, runs),
    ...lateTakeOver(name, runs, lines, expected),
    ...early(name, runs, expected),
    ...ranWhilePaused(name, runs, lines),
    ...toldTooLate(name, runs, lines),
    ...lostForNothing(name, runs, expected),
  ]);
  return [...violations, ...unrun(lines), ...refusedForNothing(lines, expected), ...wedged(lines, expected), ...badlyEnded(lines)];
}

/**
 * @param {readonly Line[]} lines
 * @returns {Figures}
 */
export function figuresOf(lines) {
  const count = (/** @type {Line['kind']} */ kind) => lines.filter((line) => line.kind === kind).length;
  const begins = lines.filter(({ kind }) => kind === 'begin');
  const recoveries = lines.flatMap(({ kind, t }) => {
    const next = kind === 'mended' ? begins.find((begin) => begin.t > t) : undefined;
    return next === undefined ? [] : [next.t - t];
  });
  return {
    asked: count('asked'),
    ran: begins.length,
    lost: count('lost'),
    refused: lines.filter(({ kind, result }) => kind === 'answered' && result?.startsWith('error: ProviderError')).length,
    faults: count('fault'),
    worstRecoveryMs: worst(recoveries),
    worstTakeOverMs: worst(
      [...grouped(runsOf(lines), ({ begin }) => begin.name)].flatMap(([, runs]) =>
        takeOvers(runs, lines).map(({ ms: took }) => took),
      ),
    ),
  };
}

/**
 * @param {readonly Line[]} lines
 * @returns {Run[]} in the order in which they began
 */
function runsOf(lines) {
  /** @type {Map<string, Run>} */
  const runs = new Map();
  for (const line of lines) {
    const id = `${line.worker} ${line.id}`;
    if (line.kind === 'begin') runs.set(id, { begin: line, trustedAt: line.t, unawareAt: line.t, toldAt: undefined });
    const run = runs.get(id);
    if (run === undefined) continue;
    if (line.kind === 'step' && line.trusted) run.trustedAt = Math.max(run.trustedAt, line.t);
    if (line.kind === 'step' && line.trusted === undefined) run.unawareAt = line.t;
    if (line.kind === 'lost') run.unawareAt = run.toldAt = line.t;
  }
  return [...runs.values()].sort((a, b) => a.begin.t - b.begin.t);
}

/** @param {string} name @param {readonly Run[]} runs @returns {Violation[]} */
function untrusted(name, runs) {
  return runs
    .filter(({ begin: { overMs = 0 } }) => overMs > PREEMPTED_MS)
    .map(({ begin }) => ({
      kind: 'untrusted begin',
      name,
      detail: `${told(begin)} began ${ms(begin.overMs ?? 0)} after its lease was over`,
    }));
}

/** @param {string} name @param {readonly Run[]} runs @returns {Violation[]} */
function overlaps(name, runs) {
  return pairs(runs)
    .filter(([run, next]) => run.trustedAt > next.begin.t)
    .map(([run, next]) => ({
      kind: 'overlap',
      name,
      t: next.begin.t,
      lengthMs: run.trustedAt - next.begin.t,
      detail: `${told(run.begin)} trusted its lease for ${ms(run.trustedAt - next.begin.t)} after ${told(next.begin)} had begun`,
    }));
}

/** @param {string} name @param {readonly Run[]} runs @returns {Violation[]} */
function disordered(name, runs) {
  return pairs(runs)
    .filter(([run, next]) => BigInt(next.begin.fence ?? 0) <= BigInt(run.begin.fence ?? 0))
    .map(([run, next]) => ({
      kind: 'fence order',
      name,
      t: next.begin.t,
      detail: `${told(next.begin)} began after ${told(run.begin)}`,
    }));
}

/**
 * Runs by their fences, which is the order in which their occurrences were claimed.
 *
 * @param {string} name @param {readonly Run[]} runs
 * @returns {Violation[]}
 */
function outOfOrder(name, runs) {
  const claimed = runs
    .filter(({ begin }) => begin.at !== undefined && begin.fence !== undefined)
    .toSorted((a, b) => (BigInt(a.begin.fence ?? 0) < BigInt(b.begin.fence ?? 0) ? -1 : 1));
  return pairs(claimed)
    .filter(([run, next]) => Number(next.begin.at) < Number(run.begin.at))
    .map(([run, next]) => ({
      kind: 'out of order',
      name,
      t: next.begin.t,
      detail: `${told(next.begin)} is of ${instant(next)}, and ${told(run.begin)} before it of ${instant(run)}`,
    }));
}

/**
 * From each death of a holder to the next run of its lock.
 *
 * @param {readonly Run[]} runs of one lock @param {readonly Line[]} lines
 * @returns {{ run: Run, at: number, ms: number }[]}
 */
function takeOvers(runs, lines) {
  const over = new Set(
    lines.filter(({ kind }) => kind === 'end' || kind === 'answered').map(({ worker, id }) => `${worker} ${id}`),
  );
  // A command outlives the replica that started it.
  const lives = (/** @type {Run} */ { begin }, /** @type {number} */ t) =>
    lines.some((line) => line.t > t && line.worker === begin.worker && line.id === begin.id);
  return lines
    .filter(({ kind }) => kind === 'killed')
    .flatMap(({ id: worker, t }) => {
      const run = runs.findLast(({ begin }) => begin.worker === worker && begin.t <= t);
      const next = runs.find(({ begin }) => begin.t > t);
      if (run === undefined || next === undefined || over.has(`${worker} ${run.begin.id}`) || lives(run, t)) return [];
      return run.toldAt === undefined ? [{ run, at: t, ms: next.begin.t - t }] : [];
    });
}

/**
 * From when each replica was up, and until when.
 *
 * @param {readonly Line[]} lines
 */
function livesOf(lines) {
  return lines
    .filter(({ kind }) => kind === 'up')
    .map(({ worker, t }) => {
      const end = lines.find(({ kind, id }) => (kind === 'killed' || kind === 'crashed') && id === worker);
      return { up: t, end: end?.t ?? Number.POSITIVE_INFINITY };
    });
}

/** @param {string} name @param {readonly Run[]} runs @param {readonly Line[]} lines @param {Expectations} expected @returns {Violation[]} */
function lateTakeOver(name, runs, lines, { takeOverMs }) {
  if (takeOverMs === undefined) return [];
  const lives = livesOf(lines);
  // A fleet whose replicas are killed while they start follows nobody.
  const couldBeFollowed = (/** @type {{ at: number, ms: number }} */ { at, ms: took }) =>
    lives.some(({ up, end }) => Math.min(end, at + took) - Math.max(up, at) > takeOverMs);
  return takeOvers(runs, lines)
    .filter(couldBeFollowed)
    .map((one) => ({
      kind: 'late take-over',
      name,
      t: one.at,
      detail: `${told(one.run.begin)} was followed ${ms(one.ms)} after its death`,
    }));
}

/**
 * @param {string} name @param {readonly Run[]} runs @param {readonly Line[]} lines @param {Expectations} expected
 * @returns {Violation[]}
 */
function duplicates(name, runs, lines, { attempts }) {
  const released = new Map(
    lines
      .filter(({ kind, result }) => kind === 'answered' && result === 'ran')
      .map((line) => [`${line.worker} ${line.id}`, line.t]),
  );
  const again = pairs(runs.filter(({ begin }) => begin.at !== undefined)).flatMap(([run, next]) => {
    const releasedAt = released.get(`${run.begin.worker} ${run.begin.id}`);
    if (releasedAt === undefined || next.begin.at !== run.begin.at || next.begin.t < releasedAt || attempts === 1) return [];
    const detail = `${told(next.begin)} began ${instant(next)} again, which ${told(run.begin)} had completed`;
    return [{ kind: /** @type {const} */ ('duplicate'), name, t: next.begin.t, detail }];
  });
  const slots = grouped(
    runs.filter(({ begin }) => begin.at !== undefined),
    ({ begin }) => Number(begin.at),
  );
  const tooMany = [...slots]
    .filter(([, started]) => started.length > attempts)
    .map(([at, started]) => ({
      kind: /** @type {const} */ ('duplicate'),
      name,
      ...(started.at(-1) === undefined ? {} : { t: Number(started.at(-1)?.begin.t) }),
      detail: `${new Date(at).toISOString()} began ${started.length} times: ${started.map(({ begin }) => told(begin)).join(', ')}`,
    }));
  return [...again, ...tooMany];
}

/** @param {string} name @param {readonly Run[]} runs @param {Expectations} expected @returns {Violation[]} */
function early(name, runs, { wallOffsetMs }) {
  if (wallOffsetMs === undefined) return [];
  return runs.flatMap(({ begin }) => {
    const earlyMs = (begin.at ?? Number.NEGATIVE_INFINITY) - (begin.t + wallOffsetMs);
    return earlyMs > CLOCK_READING_MS
      ? [{ kind: 'early', name, detail: `${told(begin)} began ${ms(earlyMs)} before its time` }]
      : [];
  });
}

/**
 * A pause lasts from its confirmation until somebody asks for its end, or is over by itself. Nothing is said of requests from before it.
 *
 * @param {string} name @param {readonly Run[]} runs @param {readonly Line[]} lines
 * @returns {Violation[]}
 */
function ranWhilePaused(name, runs, lines) {
  const askedAt = new Map(lines.filter(({ kind }) => kind === 'asked').map((line) => [`${line.worker} ${line.id}`, line.t]));
  const pauses = lines.filter((line) => line.kind === 'paused' && line.name === name);
  return pauses.flatMap((pause) => {
    const resumed = lines.find((line) => line.kind === 'resuming' && line.name === name && line.t > Number(pause.from));
    const over = Math.min(resumed?.t ?? Number.POSITIVE_INFINITY, Number(pause.from) + Number(pause.value));
    return runs
      .filter(({ begin }) => (askedAt.get(`${begin.worker} ${begin.id}`) ?? 0) > pause.t && begin.t < over)
      .map(({ begin }) => ({
        kind: 'ran while paused',
        name,
        t: begin.t,
        detail: `${told(begin)} began ${ms(begin.t - pause.t)} after its lock was paused, and ${ms(over - begin.t)} before the end of that`,
      }));
  });
}

/** @param {string} name @param {readonly Run[]} runs @param {readonly Line[]} lines @returns {Violation[]} */
function toldTooLate(name, runs, lines) {
  const stalls = lines.filter(({ kind }) => kind === 'stalled');
  return pairs(runs).flatMap(([{ begin, unawareAt }, next]) => {
    const lengthMs = unawareAt - next.begin.t;
    const stalledMs = stalls
      .filter(({ worker }) => worker === begin.worker)
      .reduce(
        (sum, { from = 0, t }) => sum + Math.max(0, Math.min(t, unawareAt) - Math.max(from, next.begin.t - LATE_TIMER_MS)),
        0,
      );
    if (lengthMs - stalledMs <= LATE_TIMER_MS) return [];
    const detail = `${told(begin)} had not heard of its loss ${ms(lengthMs)} after ${told(next.begin)} had begun`;
    return [{ kind: 'told too late', name, t: next.begin.t, lengthMs, detail }];
  });
}

/** @param {string} name @param {readonly Run[]} runs @param {Expectations} expected @returns {Violation[]} */
function lostForNothing(name, runs, { calm }) {
  if (!calm) return [];
  return runs
    .filter(({ toldAt }) => toldAt !== undefined)
    .map(({ begin }) => ({ kind: 'lost for nothing', name, detail: `${told(begin)} lost its lease` }));
}

/** Ways in which a request ends by policy, or because the fleet stops. */
const POLICY = /^error: (?:LockBusyError|LockTimeoutError|ClosedError)/;

/** @param {readonly Line[]} lines @param {Expectations} expected @returns {Violation[]} */
function refusedForNothing(lines, { calm }) {
  if (!calm) return [];
  return lines
    .filter(({ kind, result = '' }) => kind === 'answered' && result.startsWith('error') && !POLICY.test(result))
    .map(({ name = '', worker, id, result }) => ({ kind: 'lost for nothing', name, detail: `${worker}/${id}: ${result}` }));
}

/**
 * Occurrences that are called done, and that no run completed.
 *
 * @param {readonly Line[]} lines
 * @returns {Violation[]}
 */
function unrun(lines) {
  const asked = lines.filter(({ kind, at }) => kind === 'asked' && at !== undefined);
  const answers = new Map(
    lines.filter(({ kind }) => kind === 'answered').map((line) => [`${line.worker} ${line.id}`, line.result]),
  );
  const ended = new Set(lines.filter(({ kind }) => kind === 'end').map(({ worker, id }) => `${worker} ${id}`));
  const completed = new Set(
    lines.filter((line) => line.kind === 'begin' && ended.has(`${line.worker} ${line.id}`)).map(({ name, at }) => `${name} ${at}`),
  );
  return [...grouped(asked, ({ name, at }) => `${name} ${at}`)].flatMap(([slot, requests]) => {
    const isDone = requests.some(({ worker, id }) => answers.get(`${worker} ${id}`) === 'done');
    if (completed.has(slot) || !isDone) return [];
    return [{ kind: 'unrun', name: String(requests[0]?.name), detail: `${slot} is done, and no run of it came to its end` }];
  });
}

/** @param {readonly Line[]} lines @param {Expectations} expected @returns {Violation[]} */
function wedged(lines, { mendedAt, names = [] }) {
  if (mendedAt === undefined) return [];
  const late = lines.filter(({ t }) => t > mendedAt);
  const killed = new Set(lines.filter(({ kind }) => kind === 'killed').map(({ id }) => id));
  const workers = new Set(late.filter(({ kind }) => kind === 'asked').map(({ worker }) => worker));
  return unwell(lines, { since: mendedAt, workers: [...workers].filter((worker) => !killed.has(worker)), names }).map((name) => ({
    kind: 'wedged',
    name,
    detail: 'after all faults were mended nothing came of what was asked',
  }));
}

/**
 * The locks that no run has used since then, and the workers that nothing has answered.
 *
 * @param {readonly Line[]} lines
 * @param {{ since: number, workers: readonly string[], names: readonly string[] }} wanted
 * @returns {string[]}
 */
export function unwell(lines, { since, workers, names }) {
  const late = lines.filter(({ t }) => t > since);
  const begun = new Set(late.filter(({ kind }) => kind === 'begin').map(({ name }) => name));
  const answered = new Set(late.filter(({ kind }) => kind === 'answered' || kind === 'begin').map(({ worker }) => worker));
  return [...workers.filter((worker) => !answered.has(worker)), ...names.filter((name) => !begun.has(name))];
}

/** @param {readonly Line[]} lines @returns {Violation[]} */
function badlyEnded(lines) {
  return lines.flatMap(({ kind, id = '', result = '' }) => {
    /** @type {(found: ViolationKind, detail: string) => Violation[]} */
    const violation = (found, detail) => [{ kind: found, name: id, detail: `${id} ${detail}` }];
    if (kind === 'crashed') return violation('crashed', result);
    if (kind !== 'hung') return [];
    return result === 'hangs'
      ? violation('hangs', 'did not end when it was told to stop')
      : violation('left open', 'closed all, and something kept its process alive');
  });
}

/**
 * Each run and the one that began after it.
 *
 * @param {readonly Run[]} runs
 * @returns {[Run, Run][]}
 */
function pairs(runs) {
  return runs.slice(1).map((next, index) => [/** @type {Run} */ (runs[index]), next]);
}

/**
 * Map.groupBy, which Node 20 lacks.
 *
 * @template T, K
 * @param {readonly T[]} items
 * @param {(item: T) => K} keyOf
 * @returns {Map<K, T[]>}
 */
function grouped(items, keyOf) {
  /** @type {Map<K, T[]>} */
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    groups.set(key, [...(groups.get(key) ?? []), item]);
  }
  return groups;
}

/** @param {Line} line */
function told({ worker, id, fence, attempt }) {
  return `${worker}/${id} (fence ${fence}${attempt === undefined ? '' : `, attempt ${attempt}`})`;
}

/** @param {Run} run */
function instant({ begin }) {
  return new Date(Number(begin.at)).toISOString();
}

/** @param {readonly number[]} spans */
function worst(spans) {
  return spans.length === 0 ? undefined : Math.max(...spans);
}

/** @param {number} span */
function ms(span) {
  return `${Math.round(span)} ms`;
}
