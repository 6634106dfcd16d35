import type { Finding } from '../finding.ts';

/** The finding of a provider whose server did not answer. */
export function unreachable(error: unknown): Finding {
  // After several tries, the drivers report one error whose own message is empty.
  const { message, code } = error as NodeJS.ErrnoException;
  const what = isRefused(code, message) ? 'lets nobody in with this login' : 'cannot be reached';
  return { check: 'server', state: 'unreachable', says: `${what}: ${message || code || 'no reason given'}` };
}

/** Of Postgres (invalid authorization, no such database), and of Redis. */
function isRefused(code: string | undefined, message: string): boolean {
  return /^(?:28...|3D000|SOLORUN_LOGIN)$/.test(code ?? '') || /^(?:WRONGPASS|NOAUTH|SASL: )/.test(message);
}
