// @ts-check
// The checker: reads what a fleet wrote down, and finds what a promise of docs/guarantees.md rules out. Its input is what was promised
// (`Expectations`), never what the code does. A violation it reports is certain: a line's time is read before the lease is asked, so the
// lease was trusted after it, and a run's beginning is written by its handler, so its lock was granted before it.

/** @import { Line } from './journal.js' */

/**
 * - `overlap`: a run trusted its lease after a later run of the same lock had begun (G1, G2).
 * - `untrusted begin`: a handler was called with a lease that was over (G2).
 * - `fence order`: a run had no greater fence than one that began before it (G3).
 * - `duplicate`: more runs of one occurrence began than `attempts` allows (G4).
 * - `early`: a run began before its scheduled time (G4).
 * - `unrun`: replicas were told that an occurrence is done, none of them died, and no run of it had begun (G4).
 * - `told too late`: a listener of `signal` heard of the loss after a later run had begun, though its event loop never stood still (G2).
 * - `lost for nothing`: a lease was lost although nothing was done to anybody.
 * - `lost update`: what runs had counted in a store that checks fences is not what they were told (G3).
 * - `wedged`: after all faults were mended, a replica that lives had no answer any more, or no run of a lock began (G5, G8).
 * - `hangs`: a replica did not end after `close()`; `left open`: it ended, and left timers, sockets, files or sessions (docs of `close`).
 * - `crashed`: a replica ended by itself.
 *
 * @typedef {'overlap' | 'untrusted begin' | 'fence order' | 'duplicate' | 'early' | 'unrun' | 'told too late' | 'lost for nothing' |
 *   'lost update' | 'wedged' | 'hangs' | 'left open' | 'crashed'} ViolationKind
 */

/**
 * @typedef {object} Violation
 * @property {ViolationKind} kind
 * @property {string} name The lock, or the worker.
 * @property {string} detail
 */

/**
 * @typedef {object} Expectations
 * @property {number} attempts Of an occurrence.
 * @property {boolean} calm No fault was injected: a lease that is lost is a violation.
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
    ...duplicates(name, runs, expected),
    ...early(name, runs, expected),
    ...toldTooLate(name, runs, lines),
    ...lostForNothing(name, runs, expected),
  ]);
  return [...violations, ...unrun(lines), ...wedged(lines, expected), ...badlyEnded(lines)];
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
    worstRecoveryMs: recoveries.length === 0 ? undefined : Math.max(...recoveries),
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
      detail: `${told(run.begin)} trusted its lease for ${ms(run.trustedAt - next.begin.t)} after ${told(next.begin)} had begun`,
    }));
}

/** @param {string} name @param {readonly Run[]} runs @returns {Violation[]} */
function disordered(name, runs) {
  return pairs(runs)
    .filter(([run, next]) => BigInt(next.begin.fence ?? 0) <= BigInt(run.begin.fence ?? 0))
    .map(([run, next]) => ({ kind: 'fence order', name, detail: `${told(next.begin)} began after ${told(run.begin)}` }));
}

/** @param {string} name @param {readonly Run[]} runs @param {Expectations} expected @returns {Violation[]} */
function duplicates(name, runs, { attempts }) {
  const slots = grouped(
    runs.filter(({ begin }) => begin.at !== undefined),
    ({ begin }) => Number(begin.at),
  );
  return [...slots]
    .filter(([, started]) => started.length > attempts)
    .map(([at, started]) => ({
      kind: 'duplicate',
      name,
      detail: `${new Date(at).toISOString()} began ${started.length} times: ${started.map(({ begin }) => told(begin)).join(', ')}`,
    }));
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

/** @param {string} name @param {readonly Run[]} runs @param {readonly Line[]} lines @returns {Violation[]} */
function toldTooLate(name, runs, lines) {
  const stalls = lines.filter(({ kind }) => kind === 'stalled');
  return pairs(runs).flatMap(([{ begin, unawareAt }, next]) => {
    if (unawareAt <= next.begin.t + LATE_TIMER_MS) return [];
    const stoodStill = stalls.some(
      ({ worker, from = 0, t }) => worker === begin.worker && from < unawareAt && t > next.begin.t - LATE_TIMER_MS,
    );
    if (stoodStill) return [];
    const detail = `${told(begin)} had not heard of its loss ${ms(unawareAt - next.begin.t)} after ${told(next.begin)} had begun`;
    return [{ kind: 'told too late', name, detail }];
  });
}

/** @param {string} name @param {readonly Run[]} runs @param {Expectations} expected @returns {Violation[]} */
function lostForNothing(name, runs, { calm }) {
  if (!calm) return [];
  return runs
    .filter(({ toldAt }) => toldAt !== undefined)
    .map(({ begin }) => ({ kind: 'lost for nothing', name, detail: `${told(begin)} lost its lease` }));
}

/**
 * Occurrences that are called done, and that no replica ran. A replica that died, or had an error, may have claimed one before its handler.
 *
 * @param {readonly Line[]} lines
 * @returns {Violation[]}
 */
function unrun(lines) {
  const asked = lines.filter(({ kind, at }) => kind === 'asked' && at !== undefined);
  const answers = new Map(
    lines.filter(({ kind }) => kind === 'answered').map((line) => [`${line.worker} ${line.id}`, line.result]),
  );
  const begun = new Set(lines.filter(({ kind }) => kind === 'begin').map(({ name, at }) => `${name} ${at}`));
  return [...grouped(asked, ({ name, at }) => `${name} ${at}`)].flatMap(([slot, requests]) => {
    if (begun.has(slot)) return [];
    const results = requests.map(({ worker, id }) => answers.get(`${worker} ${id}`));
    const excused = results.some((result) => result === undefined || result.startsWith('error') || result === 'superseded');
    if (excused || !results.includes('done')) return [];
    return [{ kind: 'unrun', name: String(requests[0]?.name), detail: `${slot} is done, and nobody ran it` }];
  });
}

/** @param {readonly Line[]} lines @param {Expectations} expected @returns {Violation[]} */
function wedged(lines, { mendedAt }) {
  if (mendedAt === undefined) return [];
  const late = lines.filter(({ t }) => t > mendedAt);
  const answered = new Set(late.filter(({ kind }) => kind === 'answered' || kind === 'begin').map(({ worker }) => worker));
  const asked = new Set(late.filter(({ kind }) => kind === 'asked').map(({ worker }) => worker));
  const killed = new Set(lines.filter(({ kind }) => kind === 'killed').map(({ id }) => id));
  const begun = new Set(late.filter(({ kind }) => kind === 'begin').map(({ name }) => name));
  const wanted = new Set(late.filter(({ kind }) => kind === 'asked').map(({ name = '' }) => name));
  return [
    ...[...asked].filter((worker) => !killed.has(worker) && !answered.has(worker)),
    ...[...wanted].filter((name) => !begun.has(name)),
  ].map((name) => ({ kind: 'wedged', name, detail: `after all faults were mended nothing came of what was asked` }));
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

/** @param {number} span */
function ms(span) {
  return `${Math.round(span)} ms`;
}
