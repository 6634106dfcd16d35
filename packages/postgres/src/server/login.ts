import { LoginRefusedError } from './errors.ts';

/** Tells logins that will never succeed from those that may, once the server is back. */
export interface Logins {
  /** The server has let us in. */
  accepted(): void;
  /** The error that a caller gets: a `LoginRefusedError` for a refusal that will not pass by itself, any other error as it is. */
  errorOf(error: unknown): unknown;
}

export function createLogins(kind: string): Logins {
  let wasIn = false;
  return {
    accepted: () => (wasIn = true),
    // Where it was let in before, a password may just be exchanged: waiters go on waiting, as in any outage.
    errorOf: (error) => (isLoginRefused(error) && !wasIn ? new LoginRefusedError(kind, error) : error),
  };
}

/** The server says no to a login (a wrong password, say), which is more than that it cannot be reached. */
export function isLoginRefused(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  const { code = '', routine, message } = error as Error & { code?: string; routine?: string };
  // invalid_authorization_specification and its kind, invalid_catalog_name
  if (/^28...$/.test(code) || code === '3D000') return true;
  // insufficient_privilege: to connect to the database. Of anything else it may be another role's that has the right.
  if (code === '42501' && routine === 'CheckMyDatabase') return true;
  // The driver's, when the server asks for a password and there is none.
  return /^SASL: .* password must be /.test(message);
}
