import type { Statement } from './client.ts';
import { STARTED, type Session } from './session.ts';

/**
 * Ends the backends of sessions that were lost, in case a statement is still on its way to one: once each, however many tries were
 * sent on it. Afterwards nothing of theirs can arrive any more.
 */
export function createEnder(ask: (statement: Statement) => Promise<unknown>): (lost: Session | undefined) => Promise<boolean> {
  const ended = new WeakMap<Session, Promise<boolean>>();
  return async (lost) => {
    // A pooler's backend may serve another client by now.
    if (lost === undefined || lost.proxied) return false;
    let ending = ended.get(lost);
    if (ending === undefined) {
      const { pid, since, version } = lost;
      const text = `SELECT pg_terminate_backend(pid${version < WAITS ? '' : `, ${END_MS}`})::text AS over FROM pg_stat_activity
        WHERE pid = $1 AND ${STARTED} = $2`;
      ending = ask({ text, values: [pid, since] }).then(() => version >= WAITS);
      ended.set(lost, ending);
      ending.catch(() => ended.delete(lost));
    }
    return ending;
  };
}

/** From this version on the end of a backend can be waited for, in ms. */
const WAITS = 140_000;
const END_MS = 1_000;
