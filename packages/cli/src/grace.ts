/*
 * When a command whose lock is not sure any more is asked to end, so that it is gone before the store lets another one start.
 *
 *     trusted ──────────────▸│ SIGTERM ── grace ──▸│ SIGKILL │ slack │ the lease ends
 */

/** The times of a run, in ms. */
export interface GraceTerms {
  readonly leaseMs: number;
  /** Between SIGTERM and SIGKILL; less when the lock is lost and the lease leaves less. */
  readonly graceMs: number;
}

/**
 * How much earlier than the store we stop trusting the lease. The grace is in it: a command that is asked to end because the store cannot
 * be reached, or because we were stopped, is gone before another one can start.
 */
export function marginOf(terms: GraceTerms): number {
  return lostGraceOf(terms) + slackMs(terms.leaseMs);
}

/** The grace when the lock is lost. A longer one does not fit into the lease: another command could start while this one goes on. */
export function lostGraceOf({ leaseMs, graceMs }: GraceTerms): number {
  return Math.min(graceMs, leaseMs * 0.45 - slackMs(leaseMs));
}

/** How much later than we the warden acts: a command that is asked to end twice may take that for an order to drop everything. */
export function secondMs(leaseMs: number): number {
  return slackMs(leaseMs) / 4;
}

/** For clocks whose rates differ, for the warden to come second, and for a busy machine. */
function slackMs(leaseMs: number): number {
  return Math.max(leaseMs / 20, Math.min(500, leaseMs / 8));
}
