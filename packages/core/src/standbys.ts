import type { Terms } from './settle.ts';
import type { Held } from './reports.ts';

interface Standby {
  readonly at: number;
  displace(): void;
}

/**
 * Standbys of one solo that wait for an *earlier* occurrence to end: only the newest of a name goes on waiting. After a long run
 * one late run follows, not a burst of them.
 */
export class Standbys {
  /** By full name. */
  readonly #newest = new Map<string, Standby>();

  /** Has a standby wait for the holder, and displaces an older one. False if a newer one waits here already. */
  enter(terms: Terms, held: Held, displace: () => void): boolean {
    const at = terms.occurrence?.at.getTime() ?? 0;
    const running = held.record?.occurrence?.at.getTime();
    // Standing by for the very occurrence that runs: that is what a standby is for, and nothing displaces it.
    if (running === undefined || running >= at) {
      this.leave(terms);
      return true;
    }
    const other = this.#newest.get(terms.fullName);
    if (other?.at === at) return true;
    if (other !== undefined && other.at > at) return false;
    if (other !== undefined && other.at !== running) other.displace();
    this.#newest.set(terms.fullName, { at, displace });
    return true;
  }

  leave({ fullName, occurrence }: Terms): void {
    if (this.#newest.get(fullName)?.at === occurrence?.at.getTime()) this.#newest.delete(fullName);
  }
}
