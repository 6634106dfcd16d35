import { SolorunError } from '@solorun/core';

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
