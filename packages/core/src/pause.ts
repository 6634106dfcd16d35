import type { Pause, PauseTerms } from './provider.ts';

/** The pause that `terms` make at `nowMs`, the provider's clock. */
export function pauseOf(terms: PauseTerms, nowMs: number): Pause {
  const { by, note } = terms;
  const until = 'until' in terms ? terms.until : new Date(nowMs + terms.forMs);
  return { until, by, ...(note === undefined ? {} : { note }) };
}

/** The pause, unless it has ended by `nowMs`, the provider's clock. */
export function pauseInForce(pause: Pause | undefined, nowMs: number): Pause | undefined {
  return pause !== undefined && pause.until.getTime() > nowMs ? pause : undefined;
}
