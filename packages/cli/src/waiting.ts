import { ProviderError, type Holder, type Solo } from '@solorun/core';
import { isatty } from 'node:tty';
import { duration } from './duration.ts';
import type { Loudness, Voice } from './output.ts';
import { holderOf, named } from './show.ts';

/** So often the spinner reads anew who the holder is, in ms. */
const POLL_MS = 2_000;

/** Shows the holder and how long it has held the lock: a spinner in a terminal, one line in a log. Returns a function that ends it. */
export function showWaiting(solo: Solo, name: string, loudness: Loudness, voice: Voice): () => void {
  // Only here does yocto-spinner draw; elsewhere it would print a line each time.
  const draws = isatty(2) && process.env['TERM'] !== 'dumb' && !('CI' in process.env);
  const watched = draws && loudness !== 'quiet';
  let end = (): void => {};
  let ended = false;
  solo.on('busy', ({ holder, heldForMs }) => {
    const since = heldForMs === undefined ? undefined : performance.now() - heldForMs;
    if (!watched) voice.detail(waitingFor(name, holder, since));
    else {
      void spin(solo, name, holder, since).then((stop) => {
        if (ended) stop();
        else end = stop;
      });
    }
  });
  return () => {
    ended = true;
    end();
  };
}

function waitingFor(name: string, holder: Holder | undefined, since: number | undefined): string {
  const forHowLong = since === undefined ? '' : ` for ${duration(performance.now() - since)}`;
  return `waiting for ${named(name)}, held by ${holderOf(holder)}${forHowLong}`;
}

async function spin(solo: Solo, name: string, first: Holder | undefined, firstSince: number | undefined): Promise<() => void> {
  const { default: yoctoSpinner } = await import('yocto-spinner');
  let holder = first;
  let since = firstSince;
  const text = (): string => waitingFor(name, holder, since);
  // We handle signals ourselves.
  const spinner = yoctoSpinner({ text: text(), handleSignals: false }).start();
  const clock = setInterval(() => void (spinner.text = text()), 250);
  const poll = setInterval(() => {
    solo.inspect(name).then(
      (record) => {
        if (record?.held !== true) return;
        holder = record.holder;
        since = performance.now() - (record.readAt.getTime() - record.acquiredAt.getTime());
      },
      (error: unknown) => {
        // The wait itself learns of that.
        if (!(error instanceof ProviderError)) throw error;
      },
    );
  }, POLL_MS);
  return () => {
    clearInterval(clock);
    clearInterval(poll);
    spinner.stop();
  };
}
