import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { spawn, type IPty } from '@lydell/node-pty';
import { afterEach, describe, expect, it } from 'vitest';
import { gone, isAlive, newDirectory, newStore, solorun, wardenOf } from './cli.ts';

const bin = join(import.meta.dirname, '../bin/solorun.js');

function installed(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((directory) => existsSync(join(directory, program)));
}

function lacks(program: string): boolean {
  return !installed(program) && process.env['CI'] !== 'true';
}

interface Screen {
  readonly pid: number;
  shows(pattern: RegExp): Promise<RegExpExecArray>;
  types(keys: string): void;
  readonly ended: Promise<number>;
  readonly text: () => string;
}

const open = new Set<IPty>();
afterEach(() => {
  for (const pty of open) pty.kill('SIGKILL');
});

/** `solorun` in a terminal, as somebody types it. */
function inTerminal(args: readonly string[], cwd: string): Screen {
  const { CI: _, ...env } = process.env;
  const pty = spawn(process.execPath, [bin, ...args], { cols: 100, rows: 30, cwd, env: { ...env, TERM: 'xterm' } });
  open.add(pty);
  let text = '';
  let over = false;
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of listeners) listener();
  };
  pty.onData((more) => {
    text += more;
    tell();
  });
  const ended = new Promise<number>((resolve) => {
    pty.onExit(({ exitCode }) => {
      open.delete(pty);
      over = true;
      tell();
      resolve(exitCode);
    });
  });
  return {
    pid: pty.pid,
    ended,
    text: () => text,
    types: (keys) => pty.write(keys),
    shows: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = pattern.exec(text);
          if (found !== null) resolve(found);
          else if (over) reject(new Error(`it ended without showing ${String(pattern)}: ${JSON.stringify(text)}`));
          else return;
          listeners.delete(look);
        };
        listeners.add(look);
        look();
      }),
  };
}

function newPlace(): string {
  const cwd = newDirectory();
  mkdirSync(cwd);
  return cwd;
}

describe('in a terminal', () => {
  it.skipIf(lacks('less'))('less works under it: it takes the keys, and gives the screen back', async () => {
    const cwd = newPlace();
    const lines = Array.from({ length: 500 }, (_, index) => `line ${index + 1} of the book`);
    writeFileSync(join(cwd, 'book'), `${lines.join('\n')}\n`);
    const screen = inTerminal(['run', 'x', '--store', newStore(), '--', 'less', 'book'], cwd);
    await screen.shows(/line 1 of the book/);
    screen.types('G');
    await screen.shows(/line 500 of the book/);
    screen.types('q');
    expect(await screen.ended).toBe(0);
  });

  it.skipIf(lacks('less'))('less works at the end of a pipe, with keys from /dev/tty', async () => {
    const cwd = newPlace();
    writeFileSync(join(cwd, 'run'), `seq 1 500 | "${process.execPath}" "${bin}" run x --store ${newStore()} -- less\n`);
    // The shell stands for the one in which somebody types; solorun is not the first in its terminal.
    const screen = inTerminal(['run', 'shell', '--store', newStore(), '--', 'sh', 'run'], cwd);
    await screen.shows(/\b29\b/);
    screen.types('G');
    await screen.shows(/\b500\b/);
    screen.types('q');
    expect(await screen.ended).toBe(0);
  });

  it.skipIf(lacks('vi'))('vi works under it: what is typed is in the file', async () => {
    const cwd = newPlace();
    const screen = inTerminal(['run', 'x', '--store', newStore(), '--', 'vi', 'note'], cwd);
    await screen.shows(/note/);
    screen.types('ihello from vi\u001b:wq\r');
    expect(await screen.ended).toBe(0);
    expect(readFileSync(join(cwd, 'note'), 'utf8')).toBe('hello from vi\n');
  });

  it('the command is in the foreground: /dev/tty opens, and what is typed there reaches it', async () => {
    const program =
      'test -t 0 && test -t 1 && test -t 2 && echo terminal; echo name? > /dev/tty; read name < /dev/tty; echo "hello $name"';
    const screen = inTerminal(['run', 'x', '--store', newStore(), '--', 'sh', '-c', program], newPlace());
    await screen.shows(/name\?/);
    screen.types('ada\r');
    await screen.shows(/hello ada/);
    expect(await screen.ended).toBe(0);
    expect(screen.text()).toMatch(/^terminal/);
  });

  it('Ctrl-C reaches the command once, which decides what it means', async () => {
    const program = `
      let times = 0;
      process.on('SIGINT', () => { times += 1; setTimeout(() => { console.log('interrupted ' + times); process.exit(6); }, 300); });
      console.log('ready'); setInterval(() => {}, 1e6)`;
    const screen = inTerminal(['run', 'x', '--store', newStore(), '--', process.execPath, '-e', program], newPlace());
    await screen.shows(/ready/);
    screen.types('\u0003');
    expect(await screen.ended).toBe(6);
    expect(screen.text()).toContain('interrupted 1');
  });

  it('SIGTERM to solorun reaches the command, and SIGKILL ends it', async () => {
    const program = "trap 'echo bye; exit 3' TERM; echo pid $$; while :; do sleep 0.02; done";
    const polite = inTerminal(['run', 'x', '--store', newStore(), '--', 'sh', '-c', program], newPlace());
    await polite.shows(/pid/);
    process.kill(polite.pid, 'SIGTERM');
    await polite.shows(/bye/);
    expect(await polite.ended).toBe(3);

    const killed = inTerminal(['run', 'x', '--store', newStore(), '--', 'sh', '-c', program], newPlace());
    const [, pid] = await killed.shows(/pid (\d+)\s/);
    process.kill(killed.pid, 'SIGKILL');
    await gone(Number(pid));
    expect(isAlive(Number(pid))).toBe(false);
  });

  it('SIGKILL to solorun and its warden in one moment ends the command', async () => {
    // The terminal hangs up, which a command may ignore.
    const program = "trap '' HUP; echo pid $$; while :; do sleep 60; done";
    const screen = inTerminal(['run', 'x', '--store', newStore(), '--', 'sh', '-c', program], newPlace());
    const [, pid] = await screen.shows(/pid (\d+)\s/);
    const both = [screen.pid, await wardenOf(screen.pid)];
    for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const each of both) process.kill(each, signal);
    await gone(Number(pid));
    expect(isAlive(Number(pid))).toBe(false);
  });

  it('what the command leaves in the background is ended too', async () => {
    const cwd = newPlace();
    const program =
      "sh -c 'echo pid $$; exec sleep 1000' > out 2>&1 & until grep -qs pid out; do sleep 0.02; done; cat out; exit 4";
    const screen = inTerminal(['run', 'x', '--store', newStore(), '--', 'sh', '-c', program], cwd);
    expect(await screen.ended).toBe(4);
    const [, pid] = /pid (\d+)/.exec(screen.text())!;
    expect(isAlive(Number(pid))).toBe(false);
  });

  it('whoever waits sees who holds the lock and for how long, and then the command alone', async () => {
    const store = newStore();
    const holder = solorun(['run', 'x', '--store', store, '--label', 'web-1', '--', 'sh', '-c', 'echo ready; read line']);
    await holder.prints(/ready/);
    const screen = inTerminal(['run', 'x', '--store', store, '--wait', '1h', '--', 'echo', 'my turn'], newPlace());
    await screen.shows(new RegExp(`waiting for "x", held by web-1@.* \\(pid ${holder.pid}\\) for \\d`));
    holder.write('\n');
    await screen.shows(/my turn/);
    expect(await screen.ended).toBe(0);
    expect(await holder.ended).toMatchObject({ status: 0 });
  });

  it('Ctrl-C ends a wait', async () => {
    const store = newStore();
    const holder = solorun(['run', 'x', '--store', store, '--', 'sh', '-c', 'echo ready; read line']);
    await holder.prints(/ready/);
    const screen = inTerminal(['run', 'x', '--store', store, '--wait', '1h', '--', 'echo', 'my turn'], newPlace());
    await screen.shows(/waiting for/);
    screen.types('\u0003');
    expect(await screen.ended).toBe(130);
    // The cursor is there again.
    expect(screen.text().lastIndexOf('\u001b[?25h')).toBeGreaterThan(screen.text().lastIndexOf('\u001b[?25l'));
    holder.kill('SIGKILL');
  });
});
