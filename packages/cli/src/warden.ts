import { signalTree, type Tree } from './tree.ts';

/*
 * Sees to it that the command does not outlive the lock when solorun itself cannot: killed, crashed, stopped, or stalled.
 *
 * A process of its own, in a session of its own. It reads what solorun writes, a line each (see lifeline.ts), and acts when the pipe
 * ends without `done`, at once for the lock is free by then; or when the time until which the lock is sure has passed without news.
 */

/** After the last kill, in case something forked in that very moment. */
const LOOK_AGAIN_MS = 20;
const LOOKS = 50;

// Neither node nor solorun: a signal to all processes of such a name must not hit both of us.
process.title = 'lock-warden';

const [nonce, lostGrace, onLost] = process.argv.slice(2) as [string, string, string];
const lostGraceMs = Number(lostGrace);
// On Linux the nonce alone will do, should solorun be killed before it could tell more.
let tree: Tree = { pid: undefined, ownGroup: false, over: false, nonce };
let timer: NodeJS.Timeout | undefined;
let ending = false;
let buffered = '';

// Whoever ends a whole session or container politely means the command, which has its own handler.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, () => {});

process.stdin.setEncoding('latin1');
process.stdin.on('data', (text: string) => {
  buffered += text;
  for (let end = buffered.indexOf('\n'); end !== -1; end = buffered.indexOf('\n')) {
    heard(buffered.slice(0, end));
    buffered = buffered.slice(end + 1);
  }
});
process.stdin.on('error', () => orphaned());
process.stdin.on('end', () => orphaned());

function heard(line: string): void {
  const [word, first, second, third] = line.split(' ');
  if (word === 'done') process.exit(0);
  if (word === 'child') tree = { pid: Number(first), ownGroup: second === 'group', over: third === 'over', nonce };
  if (word === 'until') watch(Number(first));
  if (word === 'ending') killAt(now() + Number(first));
}

/** The clock counts the same for all processes of this machine. */
function now(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}

function watch(until: number): void {
  // Once it has been asked to end, no news is good enough.
  if (ending || onLost === 'warn') return;
  clearTimeout(timer);
  if (!Number.isFinite(until)) return;
  timer = setTimeout(
    () => {
      // Set first: looking for all of the tree takes time, and it must be gone before somebody else can start.
      killAt(until + lostGraceMs);
      signalTree(tree, 'SIGTERM');
    },
    Math.max(0, until - now()),
  );
}

/** It has been asked to end. */
function killAt(at: number): void {
  if (ending) return;
  ending = true;
  clearTimeout(timer);
  timer = setTimeout(() => signalTree(tree, 'SIGKILL'), Math.max(0, at - now()));
}

function orphaned(looks = LOOKS): void {
  clearTimeout(timer);
  const found = signalTree(tree, 'SIGKILL');
  if (found && looks > 0) setTimeout(() => orphaned(looks - 1), LOOK_AGAIN_MS);
  else process.exit(0);
}
