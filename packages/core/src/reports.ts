import type { Core } from './core.ts';
import { describeMs, quote } from './errors.ts';
import type { Terms } from './settle.ts';
import type { Pause, Refusal } from './provider.ts';

/** Clocks that agree to within this are not worth an event, in ms. */
const DRIFT_WORTH_AN_EVENT_MS = 100;
/** No clock that is kept by a time server is that far away, in ms. */
const EARLY_WORTH_A_WARNING_MS = 60_000;

/** Another holder has the name. */
export type Held = Extract<Refusal, { reason: 'held' }>;
/** The occurrence is not due yet, by the provider's clock. */
export type Early = Extract<Refusal, { reason: 'early' }>;

export function tellBusy(core: Core, terms: Terms, held: Held): void {
  const { holder, heldForMs, detail } = held;
  core.events.emit('busy', { name: terms.name, provider: core.settings.provider.kind, holder, heldForMs, detail });
}

export function tellSkipped(core: Core, terms: Terms, refusal: Refusal | { readonly reason: 'closed' }): void {
  const at = terms.occurrence?.at;
  const { holder, heldForMs, expiresInMs, detail } = refusal.reason === 'held' ? refusal : {};
  const { reason } = refusal;
  const paused = pauseIn(refusal);
  const about = { name: terms.name, provider: core.settings.provider.kind };
  if (paused !== undefined) tellPaused(core, terms, paused);
  core.events.emit('skipped', { ...about, reason, at, holder, heldForMs, expiresInMs, detail, paused });
}

/** The pause that is in the way. */
export function pauseIn(refusal: Refusal | { readonly reason: 'closed' }): Pause | undefined {
  if (refusal.reason !== 'paused') return undefined;
  const { until, by, note } = refusal;
  return { until, by, ...(note === undefined ? {} : { note }) };
}

function tellPaused(core: Core, { name, fullName }: Terms, pause: Pause): void {
  const until = pause.until.getTime();
  if (core.pausesTold.get(fullName) === until) return;
  core.pausesTold.set(fullName, until);
  core.events.emit('paused', { name, provider: core.settings.provider.kind, ...pause });
}

export function tellDrift(core: Core, terms: Terms, { earlyMs, settling = false }: Early): void {
  if (settling || earlyMs < DRIFT_WORTH_AN_EVENT_MS) return;
  core.events.emit('drift', { name: terms.name, provider: core.settings.provider.kind, earlyMs });
}

/** A wait of hours must not look like a hang. */
export function tellLongWait(core: Core, terms: Terms, { earlyMs, settling = false }: Early): void {
  if (settling || earlyMs < EARLY_WORTH_A_WARNING_MS || core.earlyTold.has(terms.fullName)) return;
  core.earlyTold.add(terms.fullName);
  process.emitWarning(
    `${quote(terms.name)} was asked for ${terms.occurrence?.at.toISOString()}, which by the provider's clock is only in ` +
      `${describeMs(earlyMs)}: it waits for that. The clock of this machine runs ahead, or Date is faked, or another instant was meant.`,
    { code: 'SOLORUN_EARLY' },
  );
}
