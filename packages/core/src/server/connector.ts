import { setTimeout as sleep } from 'node:timers/promises';
import { unlessAborted } from '../abort.ts';
import { neverSent } from './sent.ts';

/** Something that is opened when it is needed, once for all who need it, and again after it has been lost. */
export interface Connector<T> {
  /** The open one, or the next one. A caller that gives up does not stop the opening. */
  get(signal?: AbortSignal): Promise<T>;
  /** The open one, if there is one. */
  readonly current: T | undefined;
  /** Puts one that was opened beside in the place of the open one, which is the caller's to end. After a close it ends the new one. */
  replace(opened: T): Promise<void>;
  /** Opens no more, and ends what is open. */
  close(): Promise<void>;
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/** An opening that hangs does not hold up a close for longer, in ms. */
const CLOSE_MS = 2_000;

export function createConnector<T extends { readonly lost: AbortSignal; usable?(): boolean }>(
  open: () => Promise<T>,
  end: (opened: T) => Promise<void>,
): Connector<T> {
  let current: T | undefined;
  let opening: Promise<T> | undefined;
  let failures = 0;
  let failedAt = Number.NEGATIVE_INFINITY;
  const closing = new AbortController();

  async function start(): Promise<T> {
    // A server that is down is not asked by all replicas at once, nor in step.
    const pauseMs =
      failures === 0 ? 0 : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1)) * (0.75 + Math.random() / 2);
    const leftMs = failedAt + pauseMs - performance.now();
    try {
      if (leftMs > 0) await sleep(leftMs, undefined, { signal: closing.signal });
      const opened = await open();
      if (closing.signal.aborted) {
        await end(opened);
        throw closing.signal.reason;
      }
      failures = 0;
      current = opened;
      return opened;
    } catch (error) {
      failures += 1;
      failedAt = performance.now();
      // The questions that waited for it were never sent.
      throw neverSent(error);
    } finally {
      opening = undefined;
    }
  }

  const alive = (): T | undefined => (current?.lost.aborted === true || current?.usable?.() === false ? undefined : current);

  return {
    get current() {
      return alive();
    },
    get(signal) {
      if (closing.signal.aborted) return Promise.reject(neverSent(closing.signal.reason as Error));
      const ready = alive();
      if (ready !== undefined) return Promise.resolve(ready);
      opening ??= start();
      return signal === undefined ? opening : unlessAborted(opening, signal);
    },
    async replace(opened) {
      if (closing.signal.aborted) return end(opened);
      failures = 0;
      current = opened;
    },
    async close() {
      closing.abort(new Error('the provider is closed'));
      const last = alive();
      const opened = opening?.catch(() => {});
      await Promise.race([opened, sleep(CLOSE_MS, undefined, { ref: false })]);
      if (last !== undefined) await end(last);
    },
  };
}
