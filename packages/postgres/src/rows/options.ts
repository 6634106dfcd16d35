import { OptionError } from '@solorun/core';
import { checkConnection, type PostgresConnection, type PostgresPool } from '../server/client.ts';
import { checkSchema, DEFAULT_SCHEMA, type SchemaOptions } from '../server/schema.ts';

export interface PostgresLeaseOptions extends PostgresConnection, SchemaOptions {
  /**
   * A pool of yours, instead of a connection of our own. Each question takes one of its connections for one short statement: leave
   * room for that, or handlers that hold all of them wait for a lock that waits for a connection.
   */
  readonly pool?: PostgresPool | undefined;
  /**
   * Whether waiters listen for notifications. They need a connection to the server itself; behind a pooler that shares connections,
   * and with a `pool`, they poll instead. @default true
   */
  readonly notify?: boolean | undefined;
}

/** @throws OptionError */
export function checkOptions(options: PostgresLeaseOptions): void {
  checkConnection(options, 'postgresLease', ['schema', 'pool', 'notify']);
  const { pool, schema = DEFAULT_SCHEMA } = options;
  checkSchema(schema);
  if (!('pool' in options)) return;
  if (typeof pool?.query !== 'function') {
    throw new OptionError(
      `The pool for postgresLease is a Pool of node-postgres, or has its query(text, values); this is ${typeof pool}.`,
    );
  }
  const beside = Object.keys(options).filter((key) => key !== 'pool' && key !== 'schema' && key !== 'notify');
  if (beside.length > 0) throw new OptionError(`Give postgresLease a pool or ${beside.join(', ')}, not both.`);
}
