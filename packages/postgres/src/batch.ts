/** What is asked for together is answered together: one statement for all that came before its turn. */
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
  readonly resolve: (answer: A) => void;
  readonly reject: (error: unknown) => void;
}

/** More than this in one statement would keep others waiting, and a failure would touch too many. */
const MOST = 500;

/**
 * @param turn calls its job, with the means to ask, when the connection is free
 * @param send one statement; the answers in the order of the questions
 */
export function createBatch<Q, A, Means>(
  turn: (job: (means: Means) => Promise<void>) => Promise<void>,
  send: (means: Means, questions: readonly Q[]) => Promise<readonly (A | Failure)[]>,
): Batch<Q, A> {
  let waiting: Asked<Q, A>[] = [];

  function schedule(): void {
    turn(flush).catch((error: unknown) => {
      // The turn never came: the connection has ended.
      for (const { reject } of waiting.splice(0)) reject(error);
    });
  }

  async function flush(means: Means): Promise<void> {
    const asked = waiting.slice(0, MOST);
    waiting = waiting.slice(MOST);
    if (waiting.length > 0) schedule();
    const live = asked.filter(({ signal, reject }) => {
      if (signal?.aborted === true) reject(signal.reason);
      return signal?.aborted !== true;
    });
    if (live.length === 0) return;
    try {
      const answers = await send(
        means,
        live.map(({ question }) => question),
      );
      for (const [index, { resolve, reject }] of live.entries()) {
        const answer = answers[index]!;
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
        if (waiting.length === 1) schedule();
      }),
  };
}
