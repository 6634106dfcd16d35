import { LockTimeoutError, type Holder, type LockBusyError, type Pause, type Skipped, type Solo, messageOf } from '@solorun/core';
import { duration } from './duration.ts';
import type { Voice } from './output.ts';
import type { RunSettings } from './run-options.ts';
import type { Slot } from './schedule.ts';
import { holderOf, named, plain } from './show.ts';

/* The words of a run on stderr: its events, and why the command was not run. */

export function reportEvents(solo: Solo, voice: Voice): void {
  solo.on('acquired', ({ fence, occurrence }) =>
    voice.detail(`acquired, fence ${fence}${occurrence?.recovering === true ? `, attempt ${occurrence.attempt}` : ''}`),
  );
  solo.on('released', ({ outcome, heldMs }) => voice.detail(`released after ${duration(heldMs)}, ${outcome}`));
  solo.on('drift', ({ earlyMs }) => voice.note(`this machine's clock is ${duration(earlyMs)} ahead of the store's; waiting`));
  solo.on('missed', ({ occurrence }) =>
    voice.note(
      `the occurrence of ${occurrence.at.toISOString()} was ` +
        (occurrence.state === 'unclaimed' ? 'never asked for' : `started and never completed (${occurrence.state})`),
    ),
  );
  let asksAgain = false;
  solo.on('unconfirmed', ({ operation, error }) => {
    const why = plain(messageOf(error));
    // A wait that does nothing and says nothing seems to hang.
    if (operation === 'acquire' && !asksAgain) voice.note(`${why}; asking again (--on-outage)`);
    else voice.detail(`${operation}: no answer (${why})`);
    asksAgain ||= operation === 'acquire';
  });
}

export function skipWords(settings: RunSettings, { reason, holder, settling, paused }: Skipped): string {
  const { name, slot } = settings;
  const occurrence = slot === undefined ? 'this occurrence' : `the occurrence of ${slot.at.toISOString()}`;
  switch (reason) {
    case 'held':
      return `skipped: ${heldWords(settings, holder, settling)}`;
    case 'done':
      return `skipped: ${occurrence} of ${named(name)} has run`;
    case 'superseded':
      return `skipped: a later occurrence of ${named(name)} than ${occurrence} has been claimed`;
    case 'exhausted':
      return `skipped: ${occurrence} of ${named(name)} failed or crashed, and has no attempts left (--attempts)`;
    case 'paused':
      return `skipped: ${named(name)} is paused ${pausedWords(paused)} (--ignore-pause runs it)`;
    case 'early':
    case 'closed':
      return `skipped: ${occurrence} of ${named(name)} (${reason})`;
  }
}

export function busyWords(settings: RunSettings, error: LockBusyError | LockTimeoutError): string {
  const waited = error instanceof LockTimeoutError ? `; gave up after ${duration(error.waitedMs)}` : '';
  return `${heldWords(settings, error.holder, 'settling' in error ? error.settling : undefined)}${waited}`;
}

export function tooOldWords({ name }: RunSettings, { at }: Slot, withinMs: number): string {
  return `skipped: the occurrence of ${at.toISOString()} of ${named(name)} is longer ago than ${duration(withinMs)} (--within)`;
}

/** Until when, by whom and why. */
export function pausedWords(paused: Pause | undefined): string {
  if (paused === undefined) return 'by somebody';
  const { until, by, note } = paused;
  return `until ${until.toISOString()} by ${plain(by)}${note === undefined ? '' : `: ${plain(note)}`}`;
}

function heldWords({ name, leaseMs }: RunSettings, holder: Holder | undefined, settling: boolean | undefined): string {
  if (settling !== true) return `${named(name)} is held by ${holderOf(holder)}`;
  return (
    `${named(name)} may be held: the store has just come back, and grants nothing until leases that it may have forgotten are over ` +
    `(a --wait of more than ${duration(leaseMs)}, the --lease, waits for that)`
  );
}
