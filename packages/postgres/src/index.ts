export { postgresAdvisory, type PostgresAdvisoryOptions } from './advisory.ts';
export { type PostgresConnection, type PostgresPool } from './client.ts';
export { LoginRefusedError, PoolerDetectedError } from './errors.ts';
export { guard, type Guarded } from './guard.ts';
export { hostsOf, type Host } from './hosts.ts';
export { postgresLease, type PostgresLeaseOptions } from './lease.ts';
export { schemaSql, type SchemaOptions } from './schema.ts';
