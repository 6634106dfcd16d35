import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** Takes back, in the background, what a try may have acquired whose answer never came. Its nonce is known, so nobody else's is touched. */
export interface Undo<L> {
  /** @param lost what the try was sent on, if that has ended */
  add(name: string, owner: string, lost?: L): void;
  /** Resolves when what is known to be in doubt about the name has been taken back, or cannot be. */
  settled(name: string): Promise<void> | undefined;
  /** Gives what is under way until then, and stops. */
  close(limit: Promise<unknown>): Promise<void>;
}

const FIRST_PAUSE_MS = 50;
const TRIES = 8;
/** A statement whose connection was cut may still be running; after this long it has surely ended, in ms. */
const STRAGGLER_MS = 2_000;

/** @param release tells whether there was something to release */
export function createUndo<L>(release: (name: string, owner: string, lost: L | undefined) => Promise<boolean>): Undo<L> {
  const closing = new AbortController();
  // Many names may be in doubt at once.
  setMaxListeners(0, closing.signal);
  const pending = new Map<string, Promise<void>>();
  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal: closing.signal, ref: false }).catch(() => {});

  async function takeBack(name: string, owner: string, lost: L | undefined): Promise<boolean> {
    for (let tries = 0; tries < TRIES && !closing.signal.aborted; tries += 1) {
      try {
        return await release(name, owner, lost);
      } catch {
        // The server is still away. If it stays away, the lease ends by itself, and at worst an attempt of an occurrence is lost.
        await pause(FIRST_PAUSE_MS * 2 ** tries);
      }
    }
    return true;
  }

  return {
    add(name, owner, lost) {
      const before = pending.get(name);
      const done = (async () => {
        await before;
        const found = await takeBack(name, owner, lost);
        if (!found) void pause(STRAGGLER_MS).then(() => takeBack(name, owner, lost));
      })();
      pending.set(name, done);
      void done.then(() => {
        if (pending.get(name) === done) pending.delete(name);
      });
    },
    settled: (name) => pending.get(name),
    async close(limit) {
      await Promise.race([Promise.all(pending.values()), limit]);
      closing.abort();
    },
  };
}
