import { withStore } from './asked-store.ts';
import { exits } from './exit.ts';
import { print, type Voice } from './output.ts';
import type { Asked } from './program.ts';
import { named } from './show.ts';

/** `solorun rerun NAME`: a second chance for the last scheduled time. */
export async function rerun(asked: Asked, voice: Voice): Promise<number> {
  const { name } = asked as { name: string };
  const { opened, why } = await withStore(asked, { onWarning: voice.note }, async ({ solo }) => {
    const state = await solo.rerun(name);
    return { opened: state, why: state === undefined ? whyNot(name, await solo.inspect(name)) : undefined };
  });
  if (asked.options['json'] === true) print(JSON.stringify({ name, opened: opened ?? null, why }, null, 2));
  if (opened === undefined) {
    voice.error(why!);
    return exits.unsafe.status;
  }
  if (asked.options['json'] !== true) {
    print(`Opened ${named(name)} for ${opened.at.toISOString()} once more: its next run is attempt ${opened.attempt + 1}.`);
  }
  return 0;
}

function whyNot(name: string, record: { readonly held: boolean } | undefined): string {
  if (record === undefined) return `nobody has ever locked ${named(name)} here`;
  return record.held ? `${named(name)} runs now: wait for its end` : `${named(name)} has no scheduled time that could be run again`;
}
