// @ts-check
/**
 * A program with a run under way, which says what happens, a line each. Words among its arguments make it another one:
 * `stubborn` (the handler does not stop), `own` and `once` (it listens itself, works for a moment and ends with status 7), `nest` (it
 * listens, works, removes its listener and sends the signal again), `leave` and `end` (`endProcess`), `idle` (a listener that does
 * nothing), `twice` (two calls), `both` (two solos in one), `second` (a long grace), `undone`.
 */
import { closeOnSignals, createSolo } from '../../dist/index.js';
import { memory } from '../../dist/memory.js';

const words = new Set(process.argv.slice(2));
/** @param {string} word */
const say = (word) => process.stdout.write(`${word}\n`);
/** Holds the process, as a server does. */
const alive = setInterval(() => {}, 1_000);

/** @param {string} name */
function runOf(name) {
  const solo = createSolo({ provider: memory() });
  solo.on('released', () => say(`${name} released`));
  void solo
    .run(
      name,
      ({ signal }) =>
        new Promise((resolve) => {
          say(`${name} runs`);
          signal.addEventListener('abort', () => {
            say(`${name} stopping`);
            if (!words.has('stubborn')) setTimeout(resolve, name === 'slow' ? 400 : 50, undefined);
          });
        }),
    )
    .catch((/** @type {unknown} */ error) => say(`failed ${String(error)}`));
  return solo;
}

const work = () => {
  say('own work');
  setTimeout(() => {
    say('own end');
    process.exitCode = 7;
    clearInterval(alive);
    process.exit();
  }, 200);
};
if (words.has('own')) process.on('SIGTERM', work);
if (words.has('once')) process.once('SIGTERM', work);
if (words.has('idle')) process.on('SIGTERM', () => say('idle heard'));
if (words.has('nest')) {
  const hook = () => {
    process.removeListener('SIGTERM', hook);
    setTimeout(() => {
      say('nest done');
      process.kill(process.pid, 'SIGTERM');
    }, 50);
  };
  process.on('SIGTERM', hook);
}

const graceMs = words.has('stubborn') && !words.has('second') ? 300 : 20_000;
const endProcess = words.has('leave') ? false : words.has('end') ? true : undefined;
const job = runOf('job');
const undo = closeOnSignals(words.has('both') ? [job, runOf('slow')] : job, { graceMs, endProcess });
if (words.has('twice')) closeOnSignals(runOf('slow'), { graceMs });
if (words.has('undone')) undo();
if (words.has('leave')) process.on('removeListener', (event) => event === 'SIGTERM' && say('unheard'));
job.signal.addEventListener('abort', () => say('closing'));
process.on('exit', (status) => say(`exit ${status}`));
say('ready');
