/**
 * Leases that stood unchanged for longer than they last, by a clock of this process.
 *
 * A provider whose clock was set back finds a dead holder's lease valid for as much longer. A process that has seen the same lease,
 * without a renewal, for the whole length of that lease knows that it is over, whatever the provider's clock says.
 */
export interface Outlasted {
  /**
   * Whether the lease of a name is over by observation.
   *
   * @param mark changes with each acquisition and each renewal of the name
   * @param leaseMs how long that lease lasts without a renewal, in ms
   */
  isOver(name: string, mark: string, leaseMs: number): boolean;
  /** The name is free, or its lease is judged by the provider's clock. */
  forget(name: string): void;
}

/**
 * Names that are observed at once: those that changed last. With still more of them that stand unchanged, those that are dropped wait for
 * the provider's clock.
 */
const MOST = 100_000;

/**
 * @param now a monotonic clock, in ms. It may stand still while the machine sleeps: an observation then takes longer, never less
 */
export function createOutlasted(now: () => number = () => performance.now()): Outlasted {
  const observed = new Map<string, { readonly mark: string; readonly since: number }>();

  return {
    isOver(name, mark, leaseMs) {
      const before = observed.get(name);
      if (before?.mark === mark) return now() >= before.since + leaseMs;
      // Set anew it is the youngest.
      observed.delete(name);
      for (const oldest of observed.keys()) {
        if (observed.size < MOST) break;
        observed.delete(oldest);
      }
      observed.set(name, { mark, since: now() });
      return false;
    },
    forget: (name) => void observed.delete(name),
  };
}
