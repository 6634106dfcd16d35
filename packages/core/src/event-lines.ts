import { describeHolder, describeMs, describeProcess, messageOf, quote } from './errors.ts';
import type { SoloEventName, SoloEvents } from './events.ts';
import type { Pause } from './provider.ts';
import { scheduleWords } from './schedules.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** From the lowest to the highest. */
export const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

export interface Line<E extends SoloEventName> {
  readonly level: LogLevel;
  /** The rest of the line, after the event and the name. */
  readonly says: (detail: SoloEvents[E]) => string;
}

export const lines: { readonly [E in SoloEventName]: Line<E> } = {
  acquired: {
    level: 'info',
    says: ({ fence, occurrence }) =>
      `${occurrence === undefined ? '' : forInstant(occurrence.at)}${attempt(occurrence?.attempt)} (fence ${fence})`,
  },
  busy: {
    level: 'debug',
    says: ({ holder, heldForMs, detail }) => `: ${detail ?? `held by ${describeHolder(holder, heldForMs)}`}`,
  },
  skipped: { level: 'info', says: (skipped) => `${skipped.at === undefined ? '' : forInstant(skipped.at)}: ${skipWords(skipped)}` },
  paused: { level: 'info', says: (pause) => ` ${pauseWords(pause)}` },
  lost: { level: 'error', says: ({ error }) => `: ${error.message}` },
  released: { level: 'debug', says: ({ outcome, heldMs, fence }) => ` (fence ${fence}): ${outcome} after ${describeMs(heldMs)}` },
  failed: {
    level: 'error',
    says: ({ error, occurrence, fence }) =>
      `${occurrence === undefined ? '' : forInstant(occurrence.at)}${attempt(occurrence?.attempt)} (fence ${fence}): ${messageOf(error)}`,
  },
  missed: { level: 'warn', says: missedWords },
  scheduleConflict: { level: 'warn', says: conflictWords },
  drift: { level: 'debug', says: ({ earlyMs }) => `: asked for ${describeMs(earlyMs)} before its time, by the provider's clock` },
  unconfirmed: { level: 'warn', says: ({ operation, error }) => `: no answer to ${operation}: ${messageOf(error)}` },
  stuck: {
    level: 'error',
    says: ({ fence, runningMs }) => ` (fence ${fence}): still runs after ${describeMs(runningMs)}, although it was asked to stop`,
  },
};

function forInstant(at: Date): string {
  return ` for ${at.toISOString()}`;
}

function attempt(number: number | undefined): string {
  return number === undefined || number === 1 ? '' : `, attempt ${number}`;
}

function skipWords({ reason, holder, heldForMs, expiresInMs, detail, paused }: SoloEvents['skipped']): string {
  switch (reason) {
    case 'held': {
      const ends =
        expiresInMs === undefined ? '' : `; its lease ends in ${describeMs(Math.max(0, expiresInMs))} unless it is renewed`;
      return `${detail ?? `held by ${describeHolder(holder, heldForMs)}`}${ends}`;
    }
    case 'paused':
      return paused === undefined ? 'paused' : `paused ${pauseWords(paused)}`;
    case 'done':
      return 'that scheduled time has run';
    case 'superseded':
      return 'a later scheduled time has been claimed';
    case 'exhausted':
      return 'all attempts of that scheduled time have been started';
    case 'early':
      return "not due yet, by the provider's clock";
    case 'closed':
      return 'the solo is closed';
  }
}

function pauseWords({ until, by, note }: Pause): string {
  return `by ${quote(by)} until ${until.toISOString()}${note === undefined ? '' : ` (${quote(note)})`}`;
}

function missedWords({ occurrence: { at, state } }: SoloEvents['missed']): string {
  if (state !== 'unclaimed') return `${forInstant(at)}: it was started and never completed (${state})`;
  return `${forInstant(at)}: no replica asked for it`;
}

function conflictWords({
  schedule,
  otherSchedule,
  scheduleHash,
  otherScheduleHash,
  holder,
  here,
}: SoloEvents['scheduleConflict']): string {
  const ours = scheduleWords(schedule, scheduleHash);
  const who = holder === undefined ? '' : ` by ${describeProcess(holder)}`;
  return `: claimed${who} for ${scheduleWords(otherSchedule, otherScheduleHash)}, and here, by ${describeProcess(here)}, for ${ours}`;
}
