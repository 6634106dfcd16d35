/**
 * The functions of Postgres for advisory locks, as SQL. Keys are expressions of 64 bits; two numbers of 32 bits are another space of
 * keys, with functions of the same names (`objsubid` 2 in `pg_locks`, where one number of 64 bits has 1).
 */
export interface Locks {
  call(name: 'pg_try_advisory_lock' | 'pg_advisory_lock' | 'pg_advisory_unlock' | 'pg_try_advisory_xact_lock', key: string): string;
  /** Any session holds the lock, or that backend does. */
  held(key: string, pid?: string): string;
  /** The condition on `pg_locks l` for it. */
  at(key: string): string;
}

export function locksOf(pairs: boolean): Locks {
  const at = (key: string): string => `l.locktype = 'advisory' AND l.granted AND l.objsubid = ${pairs ? 2 : 1}
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = ((${key} >> 32) & 4294967295)::oid AND l.objid = (${key} & 4294967295)::oid`;
  return {
    call: (name, key) => (pairs ? `${name}((${key} >> 32)::int4, ((${key} << 32) >> 32)::int4)` : `${name}(${key})`),
    held: (key, pid) => `EXISTS (SELECT FROM pg_locks l WHERE ${at(key)}${pid === undefined ? '' : ` AND l.pid = ${pid}`})`,
    at,
  };
}
