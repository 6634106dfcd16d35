import { readFileSync } from 'node:fs';
import { CommanderError } from 'commander';
import { Ending } from './exit.ts';
import type { Told } from './trouble.ts';
import { createVoice, print, takeWarnings, type Voice } from './output.ts';
import { verbs } from './pages/page.ts';
import { createProgram, type Asked } from './program.ts';
import { named } from './show.ts';

/** Runs `solorun` with these words. Resolves to the exit status. */
export async function solorun(words: readonly string[]): Promise<number> {
  const dashes = words.indexOf('--');
  const own = dashes === -1 ? words : words.slice(0, dashes);
  const rest = dashes === -1 ? undefined : words.slice(dashes + 1);
  let voice = createVoice('solorun', 'normal');
  try {
    const asked = parse(own, rest);
    if (asked === undefined) return 0;
    const { quiet, verbose } = asked.options;
    const loudness = quiet === true ? 'quiet' : verbose === true ? 'verbose' : 'normal';
    voice = createVoice('solorun', loudness);
    takeWarnings(voice);
    const { name = asked.options['name'] } = asked;
    // All users of the machine can read the command line, and it may hold a password.
    process.title = `solorun ${asked.verb}${typeof name === 'string' ? ` ${named(name)}` : ''}`;
    return await perform(asked, rest, loudness, voice);
  } catch (error) {
    const { status, message } = await toldOf(error);
    voice.error(message);
    return status;
  }
}

/** An `Ending` needs nothing of the core, so the core is not loaded for it. */
async function toldOf(error: unknown): Promise<Told> {
  if (error instanceof Ending) return error;
  const { tell } = await import('./trouble.ts');
  return tell(error);
}

/** Undefined: --help or --version has been printed. @throws Ending */
function parse(own: readonly string[], rest: readonly string[] | undefined): Asked | undefined {
  let asked: Asked | undefined;
  const program = createProgram(version(), (what) => (asked = what));
  let mistakes = '';
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      writeOut: print,
      writeErr: (text) => (mistakes += text),
      getOutHelpWidth: () => 100,
    });
  }
  const isRun = own[0] === 'run';
  // After the dashes comes the command of `run`; for all others, a name that may begin with a dash.
  const words = isRun || rest === undefined ? own : [...own, '--', ...rest];
  try {
    program.parse(words, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    // The words of the command were taken for our own.
    const dashes = isRun && rest === undefined ? '\nThe command comes after two dashes: solorun run NAME [options] -- command' : '';
    throw usage(mistakes, own[0], dashes);
  }
  return asked;
}

function usage(mistakes: string, verb: string | undefined, hint: string): Ending {
  const of = verbs.some((known) => known === verb) ? ` ${verb}` : '';
  const [first = ''] = mistakes.replace(/^error: /, '').split('\nUsage:');
  const what = mistakes.startsWith('error:') ? first.trim() : 'say what to do';
  return new Ending('usage', `${what}${hint}\nTry: solorun${of} --help`);
}

async function perform(
  asked: Asked,
  rest: readonly string[] | undefined,
  loudness: 'quiet' | 'normal' | 'verbose',
  voice: Voice,
): Promise<number> {
  switch (asked.verb) {
    case 'run': {
      const { settleRun } = await import('./run-options.ts');
      const { run } = await import('./run.ts');
      return run(await settleRun(asked, rest, loudness), voice);
    }
    case 'status':
    case 'list':
    case 'inspect':
    case 'release': {
      const records = await import('./records.ts');
      return records[asked.verb](asked, voice);
    }
    case 'history': {
      const { history } = await import('./history.ts');
      return history(asked, voice);
    }
    case 'pause':
    case 'resume': {
      const pauses = await import('./pauses.ts');
      return pauses[asked.verb](asked, voice);
    }
    case 'rerun': {
      const { rerun } = await import('./rerun.ts');
      return rerun(asked, voice);
    }
    case 'prune': {
      const { prune } = await import('./prune.ts');
      return prune(asked, voice);
    }
    case 'check': {
      const { check } = await import('./check.ts');
      return check(asked, voice);
    }
    case 'doctor': {
      const { doctor } = await import('./doctor.ts');
      return doctor(asked, voice);
    }
    case 'explain': {
      const { explain } = await import('./explain.ts');
      return explain(asked, voice);
    }
  }
}

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  return manifest.version;
}
