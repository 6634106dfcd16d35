import { ProviderError, SolorunError } from '@solorun/core';

/**
 * Between us and the server stands something that shares its connections among clients. Session locks would be granted to several
 * holders at once there, and outlive them all.
 */
export class PoolerDetectedError extends SolorunError {
  readonly provider: string;

  constructor(provider: string, found: string) {
    super(
      'SOLORUN_POOLER',
      `${provider}: ${found}, so session locks are not safe through this connection. Give it the address of the server itself ` +
        '(port 5432 rather than the pooler), or a pooler in session mode; or use postgresLease, which works through any pooler.',
    );
    this.provider = provider;
  }
}

/**
 * The server refused the login: a wrong password, a role or a database that is not there. Asking again would not help, and might lock the
 * role out, so nobody waits for it to pass. Once a process has been let in, it is an outage like any other: `ProviderError`.
 */
export class LoginRefusedError extends SolorunError {
  readonly provider: string;

  constructor(provider: string, cause: Error) {
    super(
      'SOLORUN_LOGIN',
      `${provider}: cannot log in: ${cause.message}. Check the user, the password and the database of the connection; the server is not asked again.`,
      { cause },
    );
    this.provider = provider;
  }
}

/** The SQLSTATE of an error of the server; empty for any other error. No class of them begins with E, as `EPIPE` of Node.js does. */
export function sqlState(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^[0-9A-DF-Z][0-9A-Z]{4}$/.test(code) ? code : '';
}

export function standbyError(kind: string): ProviderError {
  return new ProviderError(
    kind,
    'lock on a hot standby',
    'the server is one (pg_is_in_recovery), and its locks are not those of the primary. Connect to the primary: give the ' +
      'address of the writer, or all the hosts, as in postgres://user@host1:5432,host2:5432/database',
  );
}

/** For a while, as where a disk is nearly full: it is asked again at the next try. */
export function readOnlyError(kind: string): ProviderError {
  return new ProviderError(
    kind,
    'lock here',
    'the database is read-only (default_transaction_read_only is on), so neither fences nor records can be written. Set it off, or ' +
      'wait until the operator does: the next try looks again',
  );
}
