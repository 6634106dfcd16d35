import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createProgram, pages as helpPages, type Asked } from '../src/program.ts';
import { settleRun } from '../src/run-options.ts';
import { parseStore } from '../src/store.ts';
import { newDirectory, newStore, start, type Ended } from './cli.ts';

const root = join(import.meta.dirname, '../../..');
const read = (page: string): string => readFileSync(join(root, page), 'utf8');
const pages = ['README.md', 'packages/cli/README.md', 'docs/cli.md'];

/** What a line would have a shell do, or cron, systemd or a workflow with one; undefined if that is nothing of ours. */
function commandIn(line: string): string | undefined {
  const command = line
    .replace(/^ *(?:\$ |- run: |ExecStart=\/usr\/local\/bin\/)/, '')
    // When cron starts it.
    .replace(/^(?:[\d*/]+ +){5}/, '')
    // What reads from it.
    .replace(/ \| .*/, '');
  return /^(?:[A-Z_]+=\S+ )?solorun /.test(command) ? command : undefined;
}

/** As the shell takes a command apart. */
function wordsOf(command: string): readonly string[] {
  const tell = 'solorun() { printf "%s\\0" solorun "$@"; }';
  const { stdout, stderr } = spawnSync('sh', ['-c', `${tell}; ${command}`], { encoding: 'utf8' });
  if (stderr !== '') throw new Error(stderr);
  return stdout.split('\0').slice(0, -1);
}

/** `[solorun, run, 'a b']`, as YAML and Dockerfiles have it. */
function listedIn(line: string): readonly string[] | undefined {
  const [, list] = /(?:command: |ENTRYPOINT )\[("?solorun.*)\]/.exec(line) ?? [];
  return list === undefined
    ? undefined
    : [...list.matchAll(/'([^']*)'|"([^"]*)"|([^\s,'"]+)/g)].map(([, one, two, bare]) => (one ?? two ?? bare)!);
}

/** All command lines in a text. */
function commandsOf(text: string): readonly (readonly string[])[] {
  return text.split('\n').flatMap((line) => {
    const listed = listedIn(line);
    if (listed !== undefined) return [listed];
    const command = commandIn(line);
    return command === undefined ? [] : [wordsOf(command)];
  });
}

/** Reads it as `solorun` does, short of opening the store. @throws what solorun would say */
async function understand([, ...words]: readonly string[]): Promise<void> {
  const dashes = words.indexOf('--');
  let asked: Asked | undefined;
  const program = createProgram('0', (what) => (asked = what));
  for (const each of [program, ...program.commands]) each.exitOverride().configureOutput({ writeErr: () => {} });
  program.parse(dashes === -1 ? words : words.slice(0, dashes), { from: 'user' });
  // In a Dockerfile the command may come from CMD.
  const command = dashes === -1 ? undefined : dashes === words.length - 1 ? ['true'] : words.slice(dashes + 1);
  if (asked!.verb === 'run') await settleRun(asked!, command, 'normal');
}

describe('the command lines', () => {
  const ofPages = pages.flatMap((page) => commandsOf(read(page)).map((words) => ({ page, words })));
  const program = createProgram('0', () => {});
  const ofHelp = [program, ...program.commands].flatMap((command) =>
    helpPages
      .get(command)!
      .examples.flatMap(({ types }) => commandsOf(types).map((words) => ({ page: `--help of ${command.name()}`, words }))),
  );

  it('are found, wherever they stand', () => {
    const found = new Set(ofPages.filter(({ page }) => page === 'docs/cli.md').map(({ words }) => words[2]));
    // A shell, cron, systemd, Kubernetes, an entrypoint, Docker, GitHub Actions.
    for (const name of ['backup', 'sync', 'billing', 'migrations', 'worker', 'deploy-production']) expect(found).toContain(name);
    expect(ofHelp.length).toBeGreaterThanOrEqual(15);
  });

  it.each([...ofPages, ...ofHelp])('$page: $words', async ({ words }) => {
    await expect(understand(words)).resolves.toBeUndefined();
  });

  it.each(pages.flatMap((page) => [...read(page).matchAll(/SOLORUN_STORE=(\S+)/g)].map(([, url]) => url!)))('on %s', (url) => {
    expect(() => parseStore(url, {})).not.toThrow();
  });
});

describe('the examples run', () => {
  const directory = newDirectory();
  const bin = join(directory, 'bin');

  /** What the examples start, each of which says how it was called. */
  beforeAll(() => {
    mkdirSync(bin, { recursive: true });
    symlinkSync(join(root, 'packages/cli/bin/solorun.js'), join(bin, 'solorun'));
    for (const program of ['bin/pg_dump', 'bin/npm', 'etl', 'opt/billing/run', 'opt/sync/run']) {
      mkdirSync(join(directory, program, '..'), { recursive: true });
      writeFileSync(join(directory, program), `#!/bin/sh\necho ran ${program} "$@"\n`, { mode: 0o755 });
    }
    writeFileSync(join(directory, 'server.js'), "console.log('ran server.js')");
    symlinkSync(process.execPath, join(bin, 'node'));
  });

  const blocks = (page: string, language: string): string[] =>
    [...read(page).matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, text]) => text!);

  function shell(script: string, env: NodeJS.ProcessEnv): Promise<Ended> {
    return start('sh', ['-c', script], { cwd: directory, env: { PATH: `${bin}:/usr/bin:/bin`, ...env } }).ended;
  }

  it.each(
    pages
      .flatMap((page) => blocks(page, 'sh').map((script) => ({ page, script })))
      .filter(({ script }) => /^solorun /m.test(script)),
  )('in a shell, from $page: $script', async ({ script }) => {
    const { status, stdout, stderr } = await shell(`set -e\n${script}`, { SOLORUN_STORE: newStore() });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.match(/^ran /gm)).toHaveLength(script.match(/ -- |^exec /gm)!.length);
  });

  it('under cron, with nothing but what the crontab says, and the second machine sends no mail', async () => {
    const [crontab] = blocks('docs/cli.md', 'crontab');
    const lines = crontab!.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const set = Object.fromEntries(
      lines.flatMap((line) => [...line.matchAll(/^([A-Z_]+)=(.*)$/g)].map(([, name, value]) => [name!, value!])),
    );
    const env = { ...set, SOLORUN_STORE: newStore(), PATH: `${bin}:${set['PATH']}` };
    const cron = (job: string | undefined): Promise<Ended> => shell(job!.replace(' /opt/', ` ${directory}/opt/`), env);
    const [nightly, often] = lines.flatMap((line) => commandIn(line) ?? []);
    expect(await cron(often)).toEqual({ status: 0, stdout: 'ran opt/sync/run\n', stderr: '' });
    expect(await cron(nightly)).toEqual({ status: 0, stdout: 'ran opt/billing/run\n', stderr: '' });
    expect(await cron(nightly)).toEqual({ status: 75, stdout: '', stderr: '' });
  });
});
