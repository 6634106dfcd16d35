import { createAlarm, type Alarm } from './alarm.ts';

export interface DeadlinesTerms<Q> {
  /** When the answer to the question is due, by `performance.now()`. It may move to later. */
  readonly dueAt: (question: Q) => number;
  /** The answer has not come in time. */
  readonly expire: (question: Q) => void;
  /** Whether the process stays alive for the question. @default true */
  readonly keepsAlive?: (question: Q) => boolean;
  /** Deadlines that lie this close together are one, in ms. @default 0 */
  readonly togetherMs?: number;
  /** A process that was stalled reads the answers that came meanwhile, before any of them counts as missing. @default false */
  readonly readFirst?: boolean;
}

/** Questions that wait for their answers, each with a deadline, and one timer for all of them. */
export class Deadlines<Q> {
  readonly #terms: DeadlinesTerms<Q>;
  readonly #questions = new Set<Q>();
  readonly #alarm: Alarm;
  /** How many of the questions keep the process alive. */
  #keeping = 0;

  constructor(terms: DeadlinesTerms<Q>) {
    this.#terms = terms;
    const ring = (): void => this.#ring();
    this.#alarm = createAlarm(performance, terms.readFirst === true ? () => void setImmediate(ring) : ring);
  }

  get size(): number {
    return this.#questions.size;
  }

  add(question: Q): void {
    this.#questions.add(question);
    if (this.#keepsAlive(question) && (this.#keeping += 1) === 1) this.#alarm.keepAlive(true);
    this.#alarm.at(this.#terms.dueAt(question));
  }

  /** The question has been answered, or nobody waits for its answer any more. */
  delete(question: Q): void {
    if (!this.#questions.delete(question)) return;
    if (this.#keepsAlive(question) && (this.#keeping -= 1) === 0) this.#alarm.keepAlive(false);
  }

  /** Removes all questions, and returns them. */
  clear(): readonly Q[] {
    const questions = [...this.#questions];
    for (const question of questions) this.delete(question);
    this.#alarm.stop();
    return questions;
  }

  #keepsAlive(question: Q): boolean {
    return this.#terms.keepsAlive?.(question) !== false;
  }

  #ring(): void {
    const { dueAt, expire, togetherMs = 0 } = this.#terms;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const question of this.#questions) {
      const at = dueAt(question);
      if (at <= now) expire(question);
      else next = Math.min(next, at);
    }
    if (next < Number.POSITIVE_INFINITY) this.#alarm.at(Math.max(next, now + togetherMs));
  }
}
