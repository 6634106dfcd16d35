import { ProviderError, type Holder, type Solo } from '@solorun/core';
import { isatty } from 'node:tty';
import { duration } from './duration.ts';
import type { Loudness, Voice } from './output.ts';
import { holderOf, named } from './show.ts';

/** So often the holder is looked up anew while somebody watches, in ms. */
const LOOK_MS = 2_000;

/** Shows who is waited for and for how long: a spinner for those who watch, one line for logs. Returns what ends it. */
export function showWaiting(solo: Solo, name: string, loudness: Loudness, voice: Voice): () => void {
  // Where yocto-spinner would draw; elsewhere it would print a line each time.
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
  // Signals are ours.
  const spinner = yoctoSpinner({ text: text(), handleSignals: false }).start();
  const clock = setInterval(() => void (spinner.text = text()), 250);
  const look = setInterval(() => {
    solo.inspect(name).then(
      (record) => {
        if (record?.held !== true) return;
        holder = record.holder;
        since = performance.now() - (record.readAt.getTime() - record.acquiredAt.getTime());
      },
      (error: unknown) => {
        // Whoever waits learns of it in its own way.
        if (!(error instanceof ProviderError)) throw error;
      },
    );
  }, LOOK_MS);
  return () => {
    clearInterval(clock);
    clearInterval(look);
    spinner.stop();
  };
}
