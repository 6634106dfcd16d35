import { setTimeout as sleep } from 'node:timers/promises';

/** Takes back, in the background, what a try may have acquired whose answer never came. Its nonce is known, so nobody else's is touched. */
export interface Undo {
  add(name: string, owner: string): void;
  close(): void;
}

const FIRST_PAUSE_MS = 50;
const TRIES = 8;

/** @param release quiet if there is nothing to release */
export function createUndo(release: (name: string, owner: string) => Promise<void>): Undo {
  const closing = new AbortController();

  async function undo(name: string, owner: string): Promise<void> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      try {
        await release(name, owner);
        return;
      } catch (error) {
        if (closing.signal.aborted) return;
        // The server is still away. In the end the lease expires; what is lost then is an attempt of an occurrence.
        if (tries === TRIES - 1)
          process.emitWarning(`an unanswered try could not be taken back: ${(error as Error).message}`, 'SolorunWarning');
        await sleep(FIRST_PAUSE_MS * 2 ** tries, undefined, { signal: closing.signal, ref: false }).catch(() => {});
      }
    }
  }

  return {
    add: (name, owner) => void undo(name, owner),
    close: () => closing.abort(),
  };
}
