import { postgresMissing } from '@solorun/servers/postgres';
import { openStage, type Stage } from '../src/demo/stage.js';
import type { Count } from '../src/demo/verdict.js';

const missing = postgresMissing();
/** False where it is missing, which has been said then; CI must have it. */
export const hasPostgres = missing === undefined || process.env['CI'] === 'true';
if (missing !== undefined) process.stderr.write(`SKIPPED: the examples on Postgres. ${missing}\n`);

export interface Played {
  readonly counts: Readonly<Record<string, number>>;
  /** What was counted and is not as promised. */
  readonly broken: readonly Count[];
  /** What was told, and what the processes said, a line each. */
  readonly story: string;
}

/** Plays a demo on a server of its own. */
export async function played(play: (stage: Stage) => Promise<Count[]>): Promise<Played> {
  const story: string[] = [];
  const stage = await openStage({ url: undefined, tell: (line) => story.push(line) });
  try {
    const counts = await play(stage);
    return {
      counts: Object.fromEntries(counts.map(({ what, found }) => [what, found])),
      broken: counts.filter(({ kept }) => !kept),
      story: story.join('\n'),
    };
  } catch (error) {
    throw new Error(`The demo did not get to its end:\n${story.join('\n')}`, { cause: error });
  } finally {
    await stage.close();
  }
}
