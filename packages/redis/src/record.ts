import type { AcquireRequest, AcquireResult, Holder, Identity, JobRecord, OccurrenceState, Refusal } from '@solorun/core';

const written = new WeakMap<Identity, string>();

/** Who asks, as the record keeps it. A solo is always the same. */
export function writeHolder(holder: Identity): string {
  let text = written.get(holder);
  if (text === undefined) {
    const { host, pid, label } = holder;
    text = JSON.stringify({ host, pid, label: label?.toWellFormed() });
    written.set(holder, text);
  }
  return text;
}

/** What `acquire` answers for one name: the fence; the fence, the attempt and the claim; or a verdict, and what it was found by. */
export type Answer =
  | number
  | readonly [fence: number, attempt: number, claim: string]
  | readonly [
      verdict: 'held' | 'early' | 'done' | 'superseded' | 'exhausted',
      earlyUs: number,
      nowUs: number,
      /** Names and values in turn, as JSON: as words of their own they would cost the client more than the rest of a try. */
      fields: string,
    ];

export function answerOf(request: AcquireRequest, answer: Answer): AcquireResult {
  const { name, owner } = request;
  if (typeof answer === 'number') return { acquired: true, grant: { name, owner, fence: BigInt(answer), attempt: 1 } };
  if (answer.length === 3) {
    const [fence, attempt, claim] = answer;
    return { acquired: true, grant: { name, owner, fence: BigInt(fence), attempt, previous: occurrenceOf(claim) } };
  }
  const [verdict, earlyUs, nowUs, json] = answer;
  const record = recordOf(name, JSON.parse(json) as readonly string[], nowUs);
  if (verdict === 'held') return heldBy(record, nowUs);
  if (verdict === 'early') return { acquired: false, reason: 'early', earlyMs: earlyUs / 1_000, record };
  return { acquired: false, reason: verdict, record };
}

function heldBy(record: JobRecord | undefined, nowUs: number): Refusal {
  if (record === undefined) return { acquired: false, reason: 'held' };
  const { holder, acquiredAt, expiresAt } = record;
  return {
    acquired: false,
    reason: 'held',
    holder,
    heldForMs: nowUs / 1_000 - acquiredAt.getTime(),
    expiresInMs: expiresAt == null ? undefined : expiresAt.getTime() - nowUs / 1_000,
    record,
  };
}

/** @param fields names and values in turn, as HGETALL answers inside a script */
export function recordOf(name: string, fields: readonly string[], nowUs: number): JobRecord | undefined {
  const of: Record<string, string | undefined> = Object.create(null) as Record<string, string>;
  for (let index = 0; index + 1 < fields.length; index += 2) of[fields[index]!] = fields[index + 1];
  const { owner, by, fence, since, until, mark, ok, took, error, schedule } = of;
  if (owner === undefined || by === undefined || fence === undefined) return undefined;
  const acquiredAt = dateOf(Number(since));
  const held = Number(until ?? 0) > nowUs;
  return {
    readAt: dateOf(nowUs),
    name,
    held,
    owner,
    holder: { ...(JSON.parse(by) as Identity), since: acquiredAt } satisfies Holder,
    fence: BigInt(fence),
    acquiredAt,
    expiresAt: held ? dateOf(Number(until)) : undefined,
    occurrence: occurrenceOf(mark),
    lastStartedAt: acquiredAt,
    lastSuccessAt: ok === undefined ? undefined : dateOf(Number(ok)),
    lastDurationMs: took === undefined ? undefined : Number(took) / 1_000,
    lastError: error,
    scheduleHash: schedule,
  };
}

function occurrenceOf(mark = ''): OccurrenceState | undefined {
  const [at, state, attempt] = mark.split(' ');
  if (state === undefined) return undefined;
  return { at: new Date(Number(at)), state: state as OccurrenceState['state'], attempt: Number(attempt) };
}

function dateOf(us: number): Date {
  return new Date(us / 1_000);
}
