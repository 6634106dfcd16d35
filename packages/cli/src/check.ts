import { messageOf, type JobRecord } from '@solorun/core';
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
/** An age may be longer than a timer counts. */
const LONGEST_MS = 3_650 * 86_400_000;

/** `solorun check`: whether each job is well, for monitors. */
export async function check(asked: Asked, voice: Voice): Promise<number> {
  if (asked.options['nagios'] !== true) return report(await checked(asked, voice), asked.options['json'] === true);
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
  const records = await withStore(asked, { onWarning: voice.note }, async ({ solo }) => {
    const found: { name: string; record: JobRecord | undefined }[] = [];
    for (const name of asked.names) found.push({ name, record: await solo.inspect(name) });
    const { prefix } = asked.options as { prefix?: string };
    if (asked.names.length > 0 && prefix === undefined) return found;
    for await (const record of solo.list({ prefix })) if (!isLeftByDoctor(record)) found.push({ name: record.name, record });
    return found;
  });
  return records
    .map(({ name, record }): Checked => {
      const health: Health =
        record === undefined ? { state: 'bad', says: ['has never been locked here'] } : healthOf(record, terms);
      return { name, ...health };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function termsOf({ options }: Asked): HealthTerms {
  const time = (word: string, option: string): number | undefined =>
    typeof options[word] === 'string' ? parseDuration(options[word], option, LONGEST_MS) : undefined;
  const maxAgeMs = time('maxAge', '--max-age');
  const allowNewMs = time('allowNew', '--allow-new');
  if (allowNewMs !== undefined && maxAgeMs === undefined) throw new Ending('usage', '--allow-new goes with --max-age.');
  return { lateMs: time('late', '--late') ?? 0, maxAgeMs, allowNewMs, maxRunMs: time('maxRun', '--max-run') };
}

function report(jobs: readonly Checked[], json: boolean): number {
  if (json)
    print(
      JSON.stringify(
        jobs.map(({ name, state, says }) => ({ name, state, says })),
        null,
        2,
      ),
    );
  else if (jobs.length === 0) print('Nothing has been locked here yet.');
  else print(jobs.map(line).join('\n'));
  return jobs.some(({ state }) => state === 'bad') ? exits.unsafe.status : 0;
}

function line({ name, state, says }: Checked): string {
  return `${{ ok: 'ok    ', paused: 'paused', bad: 'BAD   ' }[state]} ${plain(name)}: ${says.join('; ')}`;
}

/** One line with a summary and figures, then a line a job that is not well. */
function reportToNagios(jobs: readonly Checked[]): number {
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
