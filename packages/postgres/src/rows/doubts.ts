import type { Session } from '../server/session.ts';

/**
 * Tells a connection that is dead from a server that is slow: the answer to the statement in front is missing for too long on both.
 * Giving up the slow one would cost it what is under way, and a new connection on top of it; keeping the dead one would cost the
 * leases whose renewals stand in line. So another connection is opened beside, and decides.
 */
export interface Doubts {
  /** Something is about to be asked on it. */
  watch(session: Session): void;
}

/** An answer may take this many times as long as the last one before the connection is doubted. */
const SLOWER = 2;

/**
 * @param afterMs how long an answer may be missing, in ms; longer where the last one took long
 * @param replace opens another one, and puts it in the place of the first if that is silent still
 */
export function createDoubts(afterMs: () => number, replace: (silent: Session, isSilent: () => boolean) => Promise<void>): Doubts {
  let watched: Session | undefined;
  let timer: NodeJS.Timeout | undefined;

  function arm(session: Session, ms: number): void {
    watched = session;
    clearTimeout(timer);
    // The question itself keeps the process alive.
    timer = setTimeout(() => void look(session), Math.max(1, ms)).unref();
  }

  async function look(session: Session): Promise<void> {
    const { sentAt, answeredAt } = session;
    const isSilent = (): boolean =>
      session.busy && !session.lost.aborted && session.sentAt === sentAt && session.answeredAt === answeredAt;
    const patienceMs = Math.max(afterMs(), SLOWER * session.tookMs);
    const leftMs = Math.max(sentAt, answeredAt) + patienceMs - performance.now();
    if (isSilent() && leftMs <= 0) {
      // That no other one can be opened either decides nothing: the next look tries again.
      await replace(session, isSilent).catch(() => {});
    }
    if (watched !== session) return;
    if (session.busy && !session.lost.aborted) arm(session, leftMs > 0 ? leftMs : patienceMs);
    else watched = undefined;
  }

  return {
    watch(session) {
      if (watched !== session) arm(session, afterMs());
    },
  };
}
