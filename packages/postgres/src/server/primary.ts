import { setTimeout as sleep } from 'node:timers/promises';
import { ProviderError } from '@solorun/core';
import type { PostgresConnection } from './client.ts';
import { PoolerDetectedError } from './errors.ts';
import { hostsOf, type Host } from './hosts.ts';
import { createLogins, isLoginRefused } from './login.ts';

/** How something is opened on a server. */
export interface Opener<C, T> {
  /**
   * Connects. When the signal aborts, it gives up at once and leaves nothing open.
   *
   * @throws if this server is no primary
   */
  connect(connection: PostgresConnection, host: string, signal: AbortSignal): Promise<C>;
  /**
   * Makes ready what is connected. On one server at a time, so that nothing is written or remembered of one that is not taken.
   *
   * @throws if it cannot be used after all; then the connection has been ended
   */
  prepare(connected: C): Promise<T>;
  /** Ends the connection to a server that is not taken. */
  discard(connected: C): void;
}

/** Finds the primary among several servers, and finds it again after a fail-over. */
export interface Primary {
  /**
   * Opens what is to be opened on the first server that lets it, in the order of preference: from the one that was the primary last time
   * on, each once.
   *
   * @throws the server's own error if there is one server; LoginRefusedError; PoolerDetectedError; ProviderError that tells of each
   */
  reach<C, T>(opener: Opener<C, T>): Promise<T>;
}

/** A dead machine does not even refuse a connection. So after this long the next server is asked as well, in ms. */
const STAGGER_MS = 250;

export function createPrimary(kind: string, connection: PostgresConnection): Primary {
  const logins = createLogins(kind);
  let latest = 0;

  return {
    async reach(opener) {
      const hosts = hostsOf(connection);
      const order = hosts.map((_, turn) => (latest + turn) % hosts.length);
      const { turn, opened } = await firstOf(
        order.map((index) => hosts[index]!),
        opener,
        kind,
      ).catch((error: unknown) => {
        throw logins.errorOf(error);
      });
      logins.accepted();
      latest = order[turn]!;
      return opened;
    },
  };
}

/** How an attempt ended; `turn` says which of the hosts it was. */
type Attempt<T> =
  | { readonly turn: number; readonly opened: T; readonly error?: never }
  | { readonly turn: number; readonly error: unknown; readonly opened?: never };

async function firstOf<C, T>(
  hosts: readonly Host[],
  opener: Opener<C, T>,
  kind: string,
): Promise<{ readonly turn: number; readonly opened: T }> {
  const over = new AbortController();
  const end = (): void => over.abort(new Error('another host has been taken'));
  const running = new Map<number, Promise<Attempt<T>>>();
  const failures = new Map<number, unknown>();
  let preparing: Promise<unknown> = Promise.resolve();

  async function attempt(turn: number): Promise<Attempt<T>> {
    const { name, connection } = hosts[turn]!;
    try {
      const connected = await opener.connect(connection, name, over.signal);
      const prepared = preparing.then(async () => {
        if (over.signal.aborted) {
          opener.discard(connected);
          throw over.signal.reason;
        }
        const opened = await opener.prepare(connected);
        end();
        return opened;
      });
      preparing = prepared.catch(() => {});
      return { turn, opened: await prepared };
    } catch (error) {
      return { turn, error };
    }
  }

  try {
    for (let next = 0; next < hosts.length || running.size > 0;) {
      if (next < hosts.length) {
        running.set(next, attempt(next));
        next += 1;
      }
      // Given up only after the race: its rejection must not come before the host that has just been opened.
      const pause = new AbortController();
      const silence = next < hosts.length ? [sleep(STAGGER_MS, undefined, { signal: pause.signal })] : [];
      const ended = await Promise.race([...running.values(), ...silence]);
      pause.abort();
      if (ended === undefined) continue;
      if (!('error' in ended)) return ended;
      const { turn, error } = ended;
      running.delete(turn);
      // Another server would say the same of a password, and might lock the role out.
      if (hosts.length === 1 || isLoginRefused(error)) throw error;
      failures.set(turn, error);
    }
  } finally {
    end();
  }
  const errors = hosts.map((_, turn) => failures.get(turn));
  const [first] = errors;
  if (first instanceof PoolerDetectedError && errors.every((error) => error instanceof PoolerDetectedError)) throw first;
  const each = hosts.map(({ name }, turn) => `${name}: ${reasonOf(errors[turn])}`).join('; ');
  throw new ProviderError(kind, 'find a primary', `none of ${hosts.length} hosts is one. ${each}`, { cause: first });
}

function reasonOf(error: unknown): string {
  return error instanceof Error && error.message !== '' ? error.message : String((error as { code?: string }).code ?? error);
}
