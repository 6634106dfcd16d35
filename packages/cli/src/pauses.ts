import type { JobRecord, NamedPause, Pause, Solo } from '@solorun/core';
import { withStore } from './asked-store.ts';
import { duration, parseDuration } from './duration.ts';
import { Ending, exits } from './exit.ts';
import { print, type Voice } from './output.ts';
import type { Asked } from './program.ts';
import { holderOf, named, plain, shortened } from './show.ts';
import { tableOf } from './table.ts';

/** `solorun pause NAME…`, and `solorun pause --list`. */
export async function pause(asked: Asked, voice: Voice): Promise<number> {
  if (asked.options['list'] === true) return listPauses(asked, voice);
  const terms = termsOf(asked);
  const json: object[] = [];
  await withStore(asked, { onWarning: voice.note }, async ({ solo }) => {
    const names = await namesOf(asked, async function* () {
      for await (const { name } of solo.list({ prefix: prefixOf(asked) })) yield name;
    });
    if (names.size === 0) throw nothingFound(asked, 'No lock');
    for (const name of names) {
      const made = await solo.pause(name, terms);
      // Looked at after it: what is in progress now began before the pause.
      const record = await solo.inspect(name);
      if (asked.options['json'] === true) json.push({ name, ...made, running: record?.held === true });
      else print(pausedLine(name, made, record));
    }
  });
  if (asked.options['json'] === true) print(JSON.stringify(json, null, 2));
  return 0;
}

/** `solorun resume NAME…`. */
export async function resume(asked: Asked, voice: Voice): Promise<number> {
  const results: { name: string; resumed: boolean }[] = [];
  await withStore(asked, { onWarning: voice.note }, async ({ solo }) => {
    const names = await namesOf(asked, async function* () {
      for await (const { name } of solo.pauses({ prefix: prefixOf(asked) })) yield name;
    });
    if (names.size === 0) throw nothingFound(asked, 'Nothing that is paused');
    for (const name of names) results.push({ name, resumed: await solo.resume(name) });
  });
  if (asked.options['json'] === true) print(JSON.stringify(results, null, 2));
  for (const { name, resumed } of results) {
    if (!resumed) voice.error(`${named(name)} is not paused`);
    else if (asked.options['json'] !== true) print(`Resumed ${named(name)}.`);
  }
  return results.every(({ resumed }) => resumed) ? 0 : exits.unsafe.status;
}

function termsOf({ options }: Asked): { untilMs?: number; until?: Date; note?: string } {
  const { for: forTime, until, note } = options as { for?: string; until?: string; note?: string };
  const why = note === undefined ? {} : { note };
  if (until === undefined)
    return forTime === undefined ? why : { ...why, untilMs: parseDuration(forTime, '--for', Number.MAX_SAFE_INTEGER) };
  const at = new Date(until);
  if (Number.isNaN(at.getTime())) {
    throw new Ending('usage', `--until ${JSON.stringify(plain(until))} is no instant. Write for example 2026-12-24T06:00Z.`);
  }
  if (at.getTime() <= Date.now()) throw new Ending('usage', `--until ${at.toISOString()} is in the past.`);
  return { ...why, until: at };
}

function nothingFound(asked: Asked, what: string): Ending {
  return new Ending('unsafe', `${what} here begins with ${named(prefixOf(asked) ?? '')}: nothing was done.`);
}

function prefixOf({ options }: Asked): string | undefined {
  return options['prefix'] as string | undefined;
}

/** Those that stand on the command line, and with --prefix those that are found. */
async function namesOf(asked: Asked, found: () => AsyncIterable<string>): Promise<ReadonlySet<string>> {
  const names = new Set(asked.names);
  const prefix = prefixOf(asked);
  if (names.size === 0 && prefix === undefined) throw new Ending('usage', `${asked.verb} needs the name of a lock, or --prefix.`);
  if (prefix !== undefined) for await (const name of found()) names.add(name);
  return names;
}

function pausedLine(name: string, { until }: Pause, record: JobRecord | undefined): string {
  const running = record?.held === true ? ` A run is in progress on ${holderOf(record.holder)}, and goes on.` : '';
  return `Paused ${named(name)} until ${until.toISOString()}.${running}`;
}

async function listPauses(asked: Asked, voice: Voice): Promise<number> {
  const found = await withStore(asked, { onWarning: voice.note }, ({ solo }) => allPauses(solo, prefixOf(asked)));
  if (asked.options['json'] === true) print(JSON.stringify(found, null, 2));
  else if (found.length === 0) print('Nothing is paused.');
  else {
    const rows = found.map(({ name, until, by, note }) => [
      shortened(plain(name), 60),
      `${until.toISOString()} (in ${duration(until.getTime() - Date.now())})`,
      shortened(plain(by), 40),
      note === undefined ? '' : plain(note),
    ]);
    print(await tableOf([{ head: 'NAME' }, { head: 'PAUSED UNTIL' }, { head: 'BY' }, { head: 'NOTE', optional: true }], rows));
  }
  return 0;
}

async function allPauses(solo: Solo, prefix: string | undefined): Promise<readonly NamedPause[]> {
  const found: NamedPause[] = [];
  for await (const each of solo.pauses({ prefix })) found.push(each);
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}
