import type { AcquireRequest, AcquireResult, Identity, JobRecord, OccurrenceState, Pause, Schedule } from '@solorun/core';
import { heldBy, pauseInForce } from '@solorun/core/server';
import { dateOf, fieldsOf, holderOf, type Fields, type Values } from './fields.ts';
import { lastRunOf } from './runs.ts';

const written = new WeakMap<Identity, string>();

/** The holder, as the record keeps it. One solo has one identity. */
export function writeHolder(holder: Identity): string {
  let text = written.get(holder);
  if (text === undefined) {
    const { host, pid, label } = holder;
    text = JSON.stringify({ host, pid, label: label?.toWellFormed() });
    written.set(holder, text);
  }
  return text;
}

/** The answer of `acquire` for one name: the fence, and more of an occurrence; or a verdict, and the record that led to it. */
export type Answer =
  | number
  | readonly [fence: number, attempt: number, claim: string, schedule: string | null, plan: string | null, next: string | null]
  | readonly [
      verdict: 'held' | 'paused' | 'early' | 'done' | 'superseded' | 'exhausted',
      earlyUs: number,
      nowUs: number,
      /** The values of the record's fields, as JSON: as words of their own they would cost the client more than the rest of a try. */
      values: string,
    ];

/** A lease as it stands, which the server's clock was set back under: no lease that ends so late can have been granted. */
export interface Stranded {
  /** Changes with each acquisition and each renewal. */
  readonly mark: string;
  readonly leaseMs: number;
}

/** @param isOver whether a lease is over that the server's clock takes for a valid one; then the answer is its mark */
export function answerOf(
  request: AcquireRequest,
  answer: Answer,
  isOver: (name: string, stranded: Stranded) => boolean,
): AcquireResult | string {
  const { name, owner } = request;
  if (typeof answer === 'number') return { acquired: true, grant: { name, owner, fence: BigInt(answer), attempt: 1 } };
  if (typeof answer[0] === 'number') {
    const [fence, attempt, claim, schedule, plan, next] = answer;
    const previous = occurrenceOf(claim);
    return {
      acquired: true,
      grant: {
        name,
        owner,
        fence: BigInt(fence),
        attempt,
        previous,
        previousScheduleHash: schedule ?? undefined,
        previousSchedule: plan === null ? undefined : (JSON.parse(plan) as Schedule),
        previousNextDueAt: nextOf({ next: next ?? '' }, previous),
      },
    };
  }
  const [verdict, earlyUs, nowUs, json] = answer;
  const fields = fieldsOf(JSON.parse(json) as Values);
  const record = recordOf(name, fields, nowUs);
  if (verdict === 'early') return { acquired: false, reason: 'early', earlyMs: earlyUs / 1_000, record };
  if (verdict === 'paused') return { acquired: false, reason: 'paused', ...readPause(fields['paused']!), record };
  if (verdict !== 'held') return { acquired: false, reason: verdict, record };
  const leaseMs = Number(fields['lease']);
  const stranded = strandedOf(fields['owner'], fields['until'], leaseMs, nowUs);
  if (stranded !== undefined && isOver(name, stranded)) return stranded.mark;
  // A lease that seems to last for longer is over within its length, by observation.
  const { expiresAt } = record ?? {};
  return heldBy(record, nowUs / 1_000, expiresAt == null ? undefined : Math.min(leaseMs, expiresAt.getTime() - nowUs / 1_000));
}

function strandedOf(owner = '', until = '', leaseMs: number, nowUs: number): Stranded | undefined {
  return Number(until) > Math.ceil(nowUs + leaseMs * 1_000) ? { mark: markOf(owner, until), leaseMs } : undefined;
}

export function markOf(owner: string, until: string): string {
  return `${owner} ${until}`;
}

export function recordOf(name: string, fields: Fields, nowUs: number): JobRecord | undefined {
  const { owner, by, fence, since, until, mark, ok, took, error, schedule, plan, lease, known } = fields;
  if (owner === undefined || by === undefined || fence === undefined) return undefined;
  const acquiredAt = dateOf(Number(since));
  const held = Number(until ?? 0) > nowUs;
  const occurrence = occurrenceOf(mark);
  return {
    readAt: dateOf(nowUs),
    name,
    held,
    owner,
    holder: holderOf(by, Number(since)),
    fence: BigInt(fence),
    acquiredAt,
    expiresAt: held ? dateOf(Number(until)) : undefined,
    occurrence,
    lastStartedAt: acquiredAt,
    lastSuccessAt: ok === undefined ? undefined : dateOf(Number(ok)),
    lastDurationMs: took === undefined ? undefined : Number(took) / 1_000,
    lastError: error,
    scheduleHash: schedule,
    schedule: plan === undefined ? undefined : (JSON.parse(plan) as Schedule),
    nextDueAt: nextOf(fields, occurrence),
    knownSince: known === undefined ? acquiredAt : dateOf(Number(known)),
    ...lastRunOf(fields, nowUs),
    leaseMs: lease === undefined ? undefined : Number(lease),
    paused: pauseIn(fields, nowUs),
  };
}

/** The version before this one claims occurrences and leaves `next` as it is: then it may be of the past. */
function nextOf({ next = '' }: Fields, occurrence: OccurrenceState | undefined): Date | undefined {
  if (next === '') return undefined;
  const nextMs = Number(next);
  return nextMs > (occurrence?.at.getTime() ?? Number.NEGATIVE_INFINITY) ? new Date(nextMs) : undefined;
}

function pauseIn({ paused }: Fields, nowUs: number): Pause | undefined {
  return paused === undefined ? undefined : pauseInForce(readPause(paused), nowUs / 1_000);
}

/** The part of a pause that people read, as the record keeps it. */
export function writePause({ by, note }: Pick<Pause, 'by' | 'note'>): string {
  return JSON.stringify({ by, note });
}

export function readPause(text: string): Pause {
  const space = text.indexOf(' ');
  const { by, note } = JSON.parse(text.slice(space)) as Pick<Pause, 'by' | 'note'>;
  return { until: dateOf(Number(text.slice(0, space))), by, ...(note === undefined ? {} : { note }) };
}

export function occurrenceOf(mark = ''): OccurrenceState | undefined {
  const [at, state, attempt] = mark.split(' ');
  if (state === undefined) return undefined;
  return { at: new Date(Number(at)), state: state as OccurrenceState['state'], attempt: Number(attempt) };
}
