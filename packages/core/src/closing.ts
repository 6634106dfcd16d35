import type { Activity } from './activity.ts';
import { delay } from './abort.ts';
import type { Core } from './core.ts';
import { ClosedError, CloseTimeoutError, ProviderError, quote } from './errors.ts';
import { callTimeout } from './settle.ts';
import type { LockProvider } from './provider.ts';

/** How many solos that are not closed share a provider in this process. */
const sharers = new WeakMap<LockProvider, number>();

export function share(provider: LockProvider): void {
  sharers.set(provider, (sharers.get(provider) ?? 0) + 1);
}

/** True for the last one to leave: closing a provider under the lease of another solo would free it. */
export function leave(provider: LockProvider): boolean {
  const left = (sharers.get(provider) ?? 1) - 1;
  sharers.set(provider, left);
  return left === 0;
}

/** Asks all that is under way to stop, and waits for it. @throws CloseTimeoutError */
export async function stopAll(core: Core, activity: Activity, graceMs: number): Promise<void> {
  core.closing.abort(new ClosedError());
  for (const lease of core.keeper.leases) lease.abort(core.closing.signal.reason);
  const grace = new AbortController();
  const end = performance.now() + graceMs;
  const over = delay(graceMs, grace.signal);
  // A caller that runs again as soon as its run has ended learns that the solo closes, but counts as active for a moment.
  do await Promise.race([activity.idle(), over]);
  while (!activity.isIdle && performance.now() < end);
  grace.abort();
  const running = stillRunning(core, activity);
  if (running.length > 0) throw new CloseTimeoutError(graceMs, running);
}

/** Names of all that has not ended, except where the handler is done and the provider has not yet answered the release. */
function stillRunning(core: Core, activity: Activity): string[] {
  const names = activity.names();
  for (const { name } of core.keeper.releasing) {
    const index = names.indexOf(name);
    if (index !== -1) names.splice(index, 1);
  }
  return [...new Set(names)];
}

/** Releases what is still held, for as long as the provider may take to answer. */
export async function releaseAll(core: Core, activity: Activity): Promise<void> {
  // One with an occurrence that is still here was granted just now and handed to no caller: its run has not been.
  const ends = [...core.keeper.leases].map((lease) => lease.end({ result: lease.occurrence === undefined ? 'done' : 'abandoned' }));
  // A provider that has been silent for the whole grace is not waited for any longer.
  const answered = new AbortController();
  const patience = delay(activity.isIdle ? callTimeout(core.settings, null) : 0, answered.signal);
  await Promise.race([Promise.all(ends), patience]);
  answered.abort();
}

/** @throws ProviderError for releases that the provider has not answered */
export function checkReleased(core: Core): void {
  const unanswered = [...new Set([...core.keeper.releasing].map(({ name }) => quote(name)))];
  if (unanswered.length === 0) return;
  const detail = 'no answer in time. Nothing runs any more, and the lock comes free when its lease ends';
  throw new ProviderError(core.settings.provider.kind, `give back ${unanswered.join(', ')}`, detail);
}
