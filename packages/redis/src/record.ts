import type { AcquireRequest, AcquireResult, Grant, Holder, Identity, JobRecord, OccurrenceState, Refusal } from '@solorun/core';

const written = new WeakMap<Identity, string>();

/** Who asks, as the record keeps it. A solo is always the same. */
export function writeHolder(holder: Identity): string {
  let text = written.get(holder);
  if (text === undefined) {
    const { host, pid, label } = holder;
    text = JSON.stringify({ host, pid, label });
    written.set(holder, text);
  }
  return text;
}

/** What `acquire` answers for one name. */
export function answerOf(request: AcquireRequest, answer: readonly unknown[]): AcquireResult {
  const [verdict, ...rest] = answer;
  if (verdict === 'granted') return { acquired: true, grant: grantOf(request, rest) };
  const nowUs = Number(rest[1]);
  const record = recordOf(request.name, rest[2] as string[], nowUs);
  if (verdict === 'held') return heldBy(record, nowUs);
  if (verdict === 'early') return { acquired: false, reason: 'early', earlyMs: Number(rest[0]) / 1_000, record };
  return { acquired: false, reason: verdict as 'done' | 'superseded' | 'exhausted', record };
}

function grantOf({ name, owner, occurrence }: AcquireRequest, [fence, attempt, before]: readonly unknown[]): Grant {
  if (occurrence === undefined) return { name, owner, fence: BigInt(fence as string), attempt: 1 };
  const [at, state, tries] = String(before).split(' ');
  return {
    name,
    owner,
    fence: BigInt(fence as string),
    attempt: Number(attempt),
    previous: occurrenceOf(at === '' ? undefined : at, state, tries),
  };
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
  const { owner, by, fence, since, until, at, state, attempt, ok, took, error, schedule } = of;
  if (owner === undefined || by === undefined || fence === undefined) return undefined;
  const acquiredAt = dateOf(Number(since));
  const held = Number(until) > nowUs;
  return {
    readAt: dateOf(nowUs),
    name,
    held,
    owner,
    holder: { ...(JSON.parse(by) as Identity), since: acquiredAt } satisfies Holder,
    fence: BigInt(fence),
    acquiredAt,
    expiresAt: held ? dateOf(Number(until)) : undefined,
    occurrence: occurrenceOf(at, state, attempt),
    lastStartedAt: acquiredAt,
    lastSuccessAt: ok === undefined ? undefined : dateOf(Number(ok)),
    lastDurationMs: took === undefined ? undefined : Number(took) / 1_000,
    lastError: error,
    scheduleHash: schedule,
  };
}

function occurrenceOf(at: string | undefined, state: string | undefined, attempt: string | undefined): OccurrenceState | undefined {
  if (at === undefined || state === undefined) return undefined;
  return { at: new Date(Number(at)), state: state as OccurrenceState['state'], attempt: Number(attempt) };
}

function dateOf(us: number): Date {
  return new Date(us / 1_000);
}
