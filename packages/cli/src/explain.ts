import { withStore } from './asked-store.ts';
import { parseDuration } from './duration.ts';
import { print, type Voice } from './output.ts';
import type { Asked } from './program.ts';

/** `solorun explain`: the promises that hold here. */
export async function explain(asked: Asked, voice: Voice): Promise<number> {
  const leaseMs = parseDuration(String(asked.options['lease']), '--lease');
  return withStore(asked, { leaseMs, onWarning: voice.note }, async ({ store, solo }) => {
    const explanation = solo.explain();
    const { failoverMs, ...rest } = explanation;
    // JSON knows no Infinity.
    const finite = Object.fromEntries(Object.entries(failoverMs).map(([how, ms]) => [how, Number.isFinite(ms) ? ms : null]));
    if (asked.options['json'] === true) print(JSON.stringify({ store: store.shown, ...rest, failoverMs: finite }, null, 2));
    else print(`${store.shown}\n${asked.options['verbose'] === true ? String(explanation) : explanation.summary}`);
    return 0;
  });
}
