import { OptionError } from '@solorun/core';
import { checkConnection, type PostgresConnection } from '../server/client.ts';
import { checkKeyspace, type Keyspace } from '../server/keys.ts';
import { checkSchema, DEFAULT_SCHEMA, type SchemaOptions } from '../server/schema.ts';
import { checkSettling, type SettlingOptions } from './settling.ts';

export interface PostgresAdvisoryOptions extends PostgresConnection, SchemaOptions, SettlingOptions {
  /**
   * Locks that this process may hold at once. A server's lock table is shared by all its clients and everything they do, and when it
   * is full nobody can connect or read. @default 10_000
   */
  readonly maxLocks?: number | undefined;
  /**
   * How many names may be waited for in the server's own queue at once, each on a session of its own. Waiters beyond that are woken
   * by notifications, and look once a second in case a holder died. @default 1
   */
  readonly waitSessions?: number | undefined;
  /**
   * How long one wait in the server's queue goes on before it begins anew, in ms: VACUUM keeps dead rows and CREATE INDEX
   * CONCURRENTLY waits for no longer than that. @default 12_000
   */
  readonly waitSliceMs?: number | undefined;
  /**
   * How long a session is kept that holds no lock and is asked for nothing, in ms: from 1,000, or `Infinity`. Until then its heartbeat
   * goes on; afterwards the server hears nothing, and the next try connects anew. A serverless Postgres can sleep so. @default 120_000
   */
  readonly idleMs?: number | undefined;
  /**
   * Which number a name becomes, so that programs of another kind can hold the same locks: `advisory-lock` for the npm package of that
   * name and its `withlock`, `pals` for Python's PALs (the lock is then named as PALs names it: `app.name`). Use no `namespace` then:
   * they have none. @default 'solorun'
   */
  readonly keyspace?: Keyspace | undefined;
  /**
   * Called with what is missing on an old server, or with a role that may create nothing, and when a server grants nothing yet.
   * @default a process warning
   */
  readonly onWarning?: ((message: string) => void) | undefined;
}

const OPTIONS = ['schema', 'maxLocks', 'waitSessions', 'waitSliceMs', 'idleMs', 'keyspace', 'settleMs', 'settleAfter', 'onWarning'];

/** The options with their defaults. */
export type AdvisorySettings = Required<
  Pick<PostgresAdvisoryOptions, 'schema' | 'maxLocks' | 'waitSessions' | 'waitSliceMs' | 'idleMs' | 'keyspace'>
>;

/** @throws OptionError */
export function settingsOf(options: PostgresAdvisoryOptions): {
  [Name in keyof AdvisorySettings]: NonNullable<AdvisorySettings[Name]>;
} {
  checkConnection(options, 'postgresAdvisory', OPTIONS);
  const { schema = DEFAULT_SCHEMA, maxLocks = 10_000, waitSessions = 1, waitSliceMs = 12_000 } = options;
  const { keyspace = 'solorun', idleMs = 120_000 } = options;
  checkSchema(schema);
  checkSettling(options);
  checkKeyspace(keyspace);
  checkCount('maxLocks', maxLocks, 1);
  checkCount('waitSessions', waitSessions, 0);
  checkCount('waitSliceMs', waitSliceMs, 100);
  if (idleMs !== Number.POSITIVE_INFINITY) checkCount('idleMs', idleMs, 1_000);
  return { schema, maxLocks, waitSessions, waitSliceMs, idleMs, keyspace };
}

function checkCount(option: string, value: number, min: number): void {
  if (!Number.isSafeInteger(value) || value < min)
    throw new OptionError(`${option} is a whole number from ${min}, not ${String(value)}.`);
}
