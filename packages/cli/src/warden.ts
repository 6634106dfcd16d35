import { signalTree, type Tree } from './tree.ts';

/*
 * Sees to it that the command does not outlive the lock when solorun itself cannot: when it is killed, has crashed, is stopped or stalls.
 *
 * It is a process of its own, in a session of its own. It reads the lines that solorun writes (see lifeline.ts). When the pipe ends without
 * `done`, it acts at once, because the lock is free by then. It also acts when the lock is no longer sure and no news has come.
 */

/** The process table is read again after a kill, so often, in case a process forked in that very moment. */
const POLL_MS = 20;
const POLLS = 50;

// Neither node nor solorun: a signal to all processes of such a name must not hit both of us.
process.title = 'lock-warden';

const [nonce, lostGrace, onLost] = process.argv.slice(2) as [string, string, string];
const lostGraceMs = Number(lostGrace);
// On Linux the nonce alone is enough, should solorun be killed before it could write more.
let tree: Tree = { pid: undefined, ownGroup: false, over: false, nonce };
let timer: NodeJS.Timeout | undefined;
let ending = false;
let buffered = '';

// A signal that ends a whole session or container is meant for the command, which has its own handler.
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
  // Once the command has been asked to end, no news changes that.
  if (ending || onLost === 'warn') return;
  clearTimeout(timer);
  if (!Number.isFinite(until)) return;
  timer = setTimeout(
    () => {
      // The timer is set first: to find all of the tree takes time, and it must be gone before another command can start.
      killAt(until + lostGraceMs);
      signalTree(tree, 'SIGTERM');
    },
    Math.max(0, until - now()),
  );
}

/** The command has been asked to end: kills it at that time. */
function killAt(at: number): void {
  if (ending) return;
  ending = true;
  clearTimeout(timer);
  timer = setTimeout(() => signalTree(tree, 'SIGKILL'), Math.max(0, at - now()));
}

function orphaned(polls = POLLS): void {
  clearTimeout(timer);
  const found = signalTree(tree, 'SIGKILL');
  if (found && polls > 0) setTimeout(() => orphaned(polls - 1), POLL_MS);
  else process.exit(0);
}
