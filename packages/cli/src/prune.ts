import { withStore } from './asked-store.ts';
import { parseDuration } from './duration.ts';
import { print, type Voice } from './output.ts';
import type { Asked } from './program.ts';
import { plain } from './show.ts';

/** Retention may be longer than a timer counts. */
const LONGEST_MS = 36_500 * 86_400_000;

/** `solorun prune --older-than 30d`. */
export async function prune(asked: Asked, voice: Voice): Promise<number> {
  const { prefix, olderThan } = asked.options as { prefix?: string; olderThan: string };
  const olderThanMs = parseDuration(olderThan, '--older-than', LONGEST_MS);
  const dryRun = asked.options['dryRun'] === true;
  const isJson = asked.options['json'] === true;
  const forgotten = await withStore(asked, { onWarning: voice.note }, ({ solo }) => {
    const onName = (name: string): void => print(plain(name));
    return solo.prune({ olderThanMs, prefix, dryRun, ...(dryRun && !isJson ? { onName } : {}) });
  });
  if (isJson) print(JSON.stringify({ forgotten, dryRun }, null, 2));
  else if (!dryRun) print(`Removed ${forgotten === 1 ? 'one record' : `${forgotten} records`}.`);
  return 0;
}
