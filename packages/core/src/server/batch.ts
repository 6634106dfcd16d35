import { Mutex } from './mutex.ts';

/** Sends the questions of one turn in one statement. */
export interface Batch<Q, A> {
  /** Rejects at once if `signal` aborts before the question was sent; afterwards the answer is waited for. */
  ask(question: Q, signal?: AbortSignal): Promise<A>;
}

/** Stands among the answers for a question that alone was at fault. */
export class Failure {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

interface Asked<Q, A> {
  readonly question: Q;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (answer: A | PromiseLike<A>) => void;
  readonly reject: (error: unknown) => void;
}

/** More than this in one statement would keep others waiting, and a failure would touch too many. */
const MOST = 1_000;

/**
 * @param turn calls its job, with the means to ask, when the connection is free
 * @param send one statement; the answers in the order of the questions, a promise where one comes by itself
 * @param most in one statement
 */
export function createBatch<Q, A, Means>(
  turn: (job: (means: Means) => Promise<void>) => Promise<void>,
  send: (means: Means, questions: readonly Q[]) => Promise<readonly (A | Failure | Promise<A>)[]>,
  most: number = MOST,
): Batch<Q, A> {
  let waiting: Asked<Q, A>[] = [];

  function schedule(): void {
    turn(flush).catch((error: unknown) => {
      // The turn never came: the connection has ended.
      for (const { reject } of waiting.splice(0)) reject(error);
    });
  }

  async function flush(means: Means): Promise<void> {
    const asked = waiting.length > most ? waiting.splice(0, most) : waiting;
    if (asked === waiting) waiting = [];
    else schedule();
    const live = asked.some(({ signal }) => signal?.aborted === true) ? asked.filter(stillWanted) : asked;
    if (live.length === 0) return;
    try {
      const answers = await send(
        means,
        live.map(({ question }) => question),
      );
      for (let index = 0; index < live.length; index += 1) {
        const answer = answers[index]!;
        const { resolve, reject } = live[index]!;
        if (answer instanceof Failure) reject(answer.error);
        else resolve(answer);
      }
    } catch (error) {
      for (const { reject } of live) reject(error);
    }
  }

  return {
    ask: (question, signal) =>
      new Promise((resolve, reject) => {
        waiting.push({ question, signal, resolve, reject });
        if (waiting.length === 1) atEndOfTurn(schedule);
      }),
  };
}

/** Turns for a batch: one job at a time, and what is asked meanwhile is the next one. */
export function oneAtATime<Means>(means: Means): (job: (means: Means) => Promise<void>) => Promise<void> {
  const mutex = new Mutex();
  return (job) => mutex.run(() => job(means));
}

function stillWanted({ signal, reject }: Asked<unknown, never>): boolean {
  if (signal?.aborted === true) reject(signal.reason);
  return signal?.aborted !== true;
}

/** After all promises that can be settled now have been: a tick that is asked for among their callbacks comes when those are over. */
function atEndOfTurn(then: () => void): void {
  queueMicrotask(() => process.nextTick(then));
}
