import { messageOf, type Pause, type Solo } from '@solorun/core';
import { withStore } from './asked-store.ts';
import { parseDuration } from './duration.ts';
import { Ending, exits } from './exit.ts';
import { healthOf, type Health, type HealthTerms } from './health.ts';
import { print, type Voice } from './output.ts';
import { isLeftByDoctor } from './probe.ts';
import type { Asked } from './program.ts';
import { plain } from './show.ts';

interface Checked extends Health {
  readonly name: string;
}

/** A plugin's exit statuses: https://nagios-plugins.org/doc/guidelines.html */
const nagios = { ok: 0, warning: 1, critical: 2, unknown: 3 } as const;
const NOTHING = 'There is no job to look at: nothing has been locked here that was asked for.';
/** So late may a job be that nobody has said anything about, in ms: as `status` has it. */
const LATE_MS = 60_000;
/** An age may be longer than a timer counts. */
const LONGEST_MS = 3_650 * 86_400_000;

/** `solorun check`: whether each job is well, for monitors. */
export async function check(asked: Asked, voice: Voice): Promise<number> {
  if (asked.options['nagios'] !== true) return report(await checked(asked, voice), asked.options);
  try {
    return reportToNagios(await checked(asked, voice));
  } catch (error) {
    // Whatever it is, a monitor reads the first line of stdout.
    print(`SOLORUN UNKNOWN - ${plain(messageOf(error))}`);
    return nagios.unknown;
  }
}

async function checked(asked: Asked, voice: Voice): Promise<readonly Checked[]> {
  const terms = termsOf(asked);
  const healths = new Map<string, Health>();
  await withStore(asked, { onWarning: voice.note }, async ({ solo }) => {
    for (const name of asked.names) {
      const record = await solo.inspect(name);
      healths.set(name, record === undefined ? neverLocked(await pauseOf(solo, name)) : healthOf(record, terms));
    }
    const { prefix } = asked.options as { prefix?: string };
    if (asked.names.length > 0 && prefix === undefined) return;
    for await (const record of solo.list({ prefix }))
      if (!isLeftByDoctor(record)) healths.set(record.name, healthOf(record, terms));
    for await (const pause of solo.pauses({ prefix })) if (!healths.has(pause.name)) healths.set(pause.name, neverLocked(pause));
  });
  return [...healths].map(([name, health]): Checked => ({ name, ...health })).sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function pauseOf(solo: Solo, name: string): Promise<Pause | undefined> {
  for await (const pause of solo.pauses({ prefix: name })) if (pause.name === name) return pause;
  return undefined;
}

/** A name without a record may be paused all the same. */
function neverLocked(pause: Pause | undefined): Health {
  if (pause === undefined) return { state: 'bad', says: ['has never been locked here'] };
  return { state: 'paused', says: [`paused by ${plain(pause.by)} until ${pause.until.toISOString()}`, 'never locked here yet'] };
}

function termsOf({ options }: Asked): HealthTerms {
  const time = (word: string, option: string): number | undefined =>
    typeof options[word] === 'string' ? parseDuration(options[word], option, LONGEST_MS) : undefined;
  const maxAgeMs = time('maxAge', '--max-age');
  const allowNewMs = time('allowNew', '--allow-new');
  if (allowNewMs !== undefined && maxAgeMs === undefined) throw new Ending('usage', '--allow-new goes with --max-age.');
  return { lateMs: time('late', '--late') ?? LATE_MS, maxAgeMs, allowNewMs, maxRunMs: time('maxRun', '--max-run') };
}

function report(jobs: readonly Checked[], { json, quiet }: Asked['options']): number {
  const bad = jobs.filter(({ state }) => state === 'bad');
  const told = quiet === true ? bad : jobs;
  if (json === true) print(JSON.stringify(told.map(asJson), null, 2));
  else if (told.length > 0) print(told.map(line).join('\n'));
  else if (jobs.length === 0) print(NOTHING);
  // A monitor that watches nothing, as after a slip in a name, must not stay green.
  return jobs.length === 0 || bad.length > 0 ? exits.unsafe.status : 0;
}

function asJson({ name, state, says }: Checked): object {
  return { name, state, says };
}

function line({ name, state, says }: Checked): string {
  return `${{ ok: 'ok    ', paused: 'paused', bad: 'BAD   ' }[state]} ${plain(name)}: ${says.join('; ')}`;
}

/** One line with a summary and figures, then a line a job that is not well. */
function reportToNagios(jobs: readonly Checked[]): number {
  if (jobs.length === 0) {
    print(`SOLORUN UNKNOWN - ${NOTHING}`);
    return nagios.unknown;
  }
  const bad = jobs.filter(({ state }) => state === 'bad');
  const paused = jobs.filter(({ state }) => state === 'paused');
  const word = bad.length > 0 ? 'critical' : paused.length > 0 ? 'warning' : 'ok';
  const [first] = [...bad, ...paused];
  // A bar would begin the figures.
  const words = (text: string): string => text.replaceAll('|', '/');
  const what =
    first === undefined ? `${jobs.length === 1 ? 'one job is' : `${jobs.length} jobs are`} well` : words(line(first).slice(7));
  const more = bad.length > 1 ? ` (and ${bad.length - 1} more)` : '';
  const figures = `jobs=${jobs.length};;;0 bad=${bad.length};;;0 paused=${paused.length};;;0`;
  print(
    [`SOLORUN ${word.toUpperCase()} - ${what}${more} | ${figures}`, ...[...bad, ...paused].map((job) => words(line(job)))].join(
      '\n',
    ),
  );
  return nagios[word];
}
