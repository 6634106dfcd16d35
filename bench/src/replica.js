// @ts-check
// Processes that wait for a lock. None outlives this one: they end when nobody can tell them anything any more.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('programs/queue.js', import.meta.url));
/** Far above what anything takes here, so that a lost wake-up is an error and no hang, in ms. */
const PATIENCE_MS = 300_000;

/** @typedef {'ready' | 'waiting' | 'held' | 'released' | 'keeping' | 'cpu'} Word */

/**
 * @typedef {object} Replica
 * @property {(count?: number) => Promise<unknown>} take Resolves when it has begun to wait.
 * @property {() => Promise<number>} held When it got the lock, in ms of the clock that processes share.
 * @property {() => Promise<number>} release When it was about to give the lock back.
 * @property {(count: number) => Promise<number>} keep Takes that many other locks, for good.
 * @property {() => Promise<number>} cpu The processor time it has used so far, in ms.
 * @property {() => Promise<void>} kill SIGKILL; resolves when it is gone.
 */

/**
 * @param {string} kind a kind of queue
 * @param {string} store
 * @returns {Promise<Replica>}
 */
export async function startReplica(kind, store) {
  const child = spawn(process.execPath, [PROGRAM, kind, store], { stdio: ['pipe', 'pipe', 'inherit'] });
  // Told to a process that was killed a moment ago.
  child.stdin.on('error', () => {});
  const exited = once(child, 'exit');
  /** @type {Map<Word, number[]>} */
  const heard = new Map();
  /** @type {Set<() => void>} */
  const looking = new Set();
  const lookAgain = () => {
    for (const look of looking) look();
  };
  let over = false;
  createInterface({ input: child.stdout }).on('line', (line) => {
    for (const [word, value] of Object.entries(JSON.parse(line))) {
      const key = /** @type {Word} */ (word);
      heard.set(key, [...(heard.get(key) ?? []), Number(value)]);
    }
    lookAgain();
  });
  child.once('exit', () => {
    over = true;
    lookAgain();
  });

  /**
   * The next line with this word that was not asked for yet.
   *
   * @param {Word} word
   * @returns {Promise<number>}
   */
  const next = (word) =>
    new Promise((resolve, reject) => {
      const give = (/** @type {() => void} */ settle) => {
        clearTimeout(timer);
        looking.delete(look);
        settle();
      };
      const timer = setTimeout(() => give(() => reject(new Error(`${kind}: not ${word} after ${PATIENCE_MS} ms`))), PATIENCE_MS);
      const look = () => {
        const value = heard.get(word)?.shift();
        if (value !== undefined) give(() => resolve(value));
        else if (over) give(() => reject(new Error(`${kind}: the process ended before it was ${word}`)));
      };
      looking.add(look);
      look();
    });

  /** @param {string} line @param {Word} answer */
  const order = (line, answer) => {
    child.stdin.write(`${line}\n`);
    return next(answer);
  };

  const kill = async () => {
    if (!over) child.kill('SIGKILL');
    await exited;
  };
  try {
    await next('ready');
  } catch (error) {
    await kill();
    throw error;
  }
  return {
    take: (count = 1) => order(`take ${count}`, 'waiting'),
    held: () => next('held'),
    release: () => order('release', 'released'),
    keep: (count) => order(`keep ${count}`, 'keeping'),
    cpu: () => order('cpu', 'cpu'),
    kill,
  };
}
