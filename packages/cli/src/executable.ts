import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Ending } from './exit.ts';
import { plain } from './show.ts';

/**
 * Looks for the command as execvp(3) will, before any lock is asked for. A machine on which the command is not installed must not claim
 * the occurrence: it would then run nowhere.
 *
 * @throws Ending
 */
export function checkExecutable(command: string, env: NodeJS.ProcessEnv): void {
  // On Windows, names get suffixes.
  if (process.platform === 'win32') return;
  let refused: string | undefined;
  for (const place of placesOf(command, env)) {
    const answer = look(place);
    if (answer === 'executable') return;
    if (answer !== 'missing') refused ??= answer;
  }
  if (refused !== undefined) throw new Ending('notExecutable', `${plain(command)}: ${refused}`);
  throw new Ending('notFound', `${plain(command) || "''"}: command not found`);
}

/** The file that would be executed; undefined if there is none. */
export function whereIs(command: string, env: NodeJS.ProcessEnv): string | undefined {
  return placesOf(command, env).find((place) => look(place) === 'executable');
}

function placesOf(command: string, env: NodeJS.ProcessEnv): readonly string[] {
  if (command === '') return [];
  if (command.includes('/')) return [command];
  return (env['PATH'] ?? '/usr/bin:/bin').split(delimiter).map((directory) => join(directory, command));
}

function look(path: string): 'executable' | 'missing' | 'is a directory' | 'permission denied' {
  try {
    if (statSync(path).isDirectory()) return 'is a directory';
    accessSync(path, constants.X_OK);
    return 'executable';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
    // There is no such file, or it is no path at all (ENOTDIR, ENAMETOOLONG, ELOOP).
    return 'missing';
  }
}
