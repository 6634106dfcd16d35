export { type PostgresAdvisoryOptions } from './advisory/options.ts';
export { postgresAdvisory } from './advisory/provider.ts';
export { type PostgresConnection, type PostgresPool } from './server/client.ts';
export { LoginRefusedError, PoolerDetectedError } from './server/errors.ts';
export { guard, type Guarded } from './server/guard.ts';
export { hostsOf, type Host } from './server/hosts.ts';
export { type PostgresLeaseOptions } from './rows/options.ts';
export { postgresLease } from './rows/provider.ts';
export { schemaSql, type SchemaOptions } from './server/schema.ts';
