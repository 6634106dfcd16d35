import { unlessAborted } from '@solorun/core/server';

/** One file that cannot be read must not hide the others. */
export function warnOfUnreadable(key: string, why: unknown): void {
  process.emitWarning(`The lock ${key} cannot be listed: ${String(why)}`, { code: 'SOLORUN_UNREADABLE' });
}

/** The answer, for as long as the caller waits for it. A slow store may give it later, and no step of reading changes anything. */
export function unlessGivenUp<T>(answer: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return signal === undefined ? answer : unlessAborted(answer, signal);
}
