import type { Terms } from './settle.ts';
import type { Held } from './reports.ts';

/** A wait that may be displaced by one for a later occurrence. */
export interface Standby {
  readonly terms: Terms;
  displace(): void;
}

interface Newest {
  /** The scheduled time of their occurrence, in ms. */
  readonly at: number;
  readonly waiting: Set<Standby>;
}

/**
 * Standbys of one solo that wait for an *earlier* occurrence to end: only those for the newest of a name go on waiting. After a long run
 * one late run follows, not a burst of them.
 */
export class Standbys {
  /** By full name. */
  readonly #newest = new Map<string, Newest>();

  /** Has a standby wait for the holder, and displaces older ones. False if a newer one waits here already. */
  enter(standby: Standby, held: Held): boolean {
    const { fullName, occurrence } = standby.terms;
    const at = occurrence?.at.getTime() ?? 0;
    const running = held.record?.occurrence?.at.getTime();
    // Standing by for the very occurrence that runs: that is what a standby is for, and nothing displaces it.
    if (running === undefined || running >= at) {
      this.leave(standby);
      return true;
    }
    const newest = this.#newest.get(fullName);
    if (newest !== undefined && newest.at > at) return false;
    if (newest?.at === at) newest.waiting.add(standby);
    else {
      if (newest !== undefined && newest.at !== running) for (const older of newest.waiting) older.displace();
      this.#newest.set(fullName, { at, waiting: new Set([standby]) });
    }
    return true;
  }

  leave(standby: Standby): void {
    const { fullName } = standby.terms;
    const newest = this.#newest.get(fullName);
    if (newest?.waiting.delete(standby) === true && newest.waiting.size === 0) this.#newest.delete(fullName);
  }
}
