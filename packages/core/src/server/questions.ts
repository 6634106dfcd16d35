import { unlessAborted } from '../abort.ts';
import { SolorunError } from '../errors.ts';
import { Active, finishLimit } from './active.ts';
import { wasSent } from './sent.ts';
import { Undo } from './undo.ts';

export interface QuestionsTerms<L> {
  /**
   * Releases what a try of this owner may have acquired, and answers whether there was something to release. Names of one turn of the
   * event loop may share a statement.
   */
  readonly release: (name: string, owner: string, lost: L | undefined) => Promise<boolean>;
  /** Whether the server may have carried out a question that failed so, although it was sent. @default it may */
  readonly mayHaveRun?: (error: unknown) => boolean;
  /** The connection that the question was sent on, if the error is the end of that connection. @default unknown */
  readonly lostBy?: (error: unknown) => L | undefined;
}

interface Owned {
  readonly name: string;
  readonly owner: string;
}

/**
 * The questions of one provider to its server, from the first to the last: tries whose answer was lost or came too late are taken
 * back, the next try for such a name waits until that is done, and a close cuts off nothing whose outcome nobody would know.
 *
 * @typeParam L what a question is sent on
 */
export class Questions<L = undefined> {
  readonly #terms: QuestionsTerms<L>;
  readonly #active = new Active();
  readonly #undo: Undo<L>;
  #closing: Promise<void> | undefined;

  constructor(terms: QuestionsTerms<L>) {
    this.#terms = terms;
    this.#undo = new Undo(terms.release);
  }

  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /** @throws Error when the provider is closed; the signal's reason */
  checkOpen(signal?: AbortSignal): void {
    signal?.throwIfAborted();
    if (this.isClosed) throw new Error('the provider is closed');
  }

  /**
   * Resolves when what an unanswered try may have acquired of the name has been taken back: the next try must not be refused for it.
   * Undefined: nothing is in doubt.
   */
  doubt(name: string, signal: AbortSignal): Promise<void> | undefined {
    const settled = this.#undo.settled(name);
    return settled === undefined ? undefined : unlessAborted(settled, signal);
  }

  /**
   * Hands on the answer to a try. If the signal has aborted by then it rejects with the reason, and takes back what was acquired. For
   * callers that do not wait beyond the end of their signal: the core is one.
   */
  answer<A>(owned: Owned, asking: Promise<A>, isGrant: (answer: A) => boolean, signal: AbortSignal): Promise<A> {
    return this.track(
      asking.then(
        (answer) => {
          if (!signal.aborted) return answer;
          this.#late(owned, answer, isGrant);
          throw signal.reason;
        },
        (error: unknown) => {
          this.#failed(owned, error, signal);
          throw error;
        },
      ),
    );
  }

  /**
   * The same, and rejects as soon as the signal aborts. The step in which the answer comes decides who has the grant, the caller or
   * nobody: to wrap `answer` in a wait of one's own would leave a moment in which it is neither's.
   */
  answerSoon<A>(owned: Owned, asking: Promise<A>, isGrant: (answer: A) => boolean, signal: AbortSignal): Promise<A> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason as Error);
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
      void this.track(
        asking.then(
          (answer) => {
            signal.removeEventListener('abort', onAbort);
            if (signal.aborted) this.#late(owned, answer, isGrant);
            else resolve(answer);
          },
          (error: unknown) => {
            signal.removeEventListener('abort', onAbort);
            this.#failed(owned, error, signal);
            reject(error);
          },
        ),
      );
    });
  }

  /** Takes back in the background what a try may have acquired. The owner is a nonce, so no other holder is touched. */
  takeBack(name: string, owner: string, lost?: L): void {
    this.#undo.add(name, owner, lost);
  }

  /** A close waits for this work, for a moment. */
  track<T>(work: Promise<T>): Promise<T> {
    return this.#active.track(work);
  }

  /**
   * Waits for what is under way and for what is to be taken back, no longer than 1.5 s in all, and then lets go of the connections.
   * Twice is quiet.
   *
   * @param letGo receives the limit: it resolves when the time is over
   */
  close(letGo: (limit: Promise<void>) => Promise<void>): Promise<void> {
    this.#closing ??= this.#end(letGo);
    return this.#closing;
  }

  async #end(letGo: (limit: Promise<void>) => Promise<void>): Promise<void> {
    const limit = finishLimit();
    await this.#active.over(limit);
    await this.#undo.close(limit);
    await letGo(limit);
  }

  #late<A>({ name, owner }: Owned, answer: A, isGrant: (answer: A) => boolean): void {
    if (isGrant(answer)) this.takeBack(name, owner);
  }

  #failed({ name, owner }: Owned, error: unknown, signal: AbortSignal): void {
    // The signal's own reason: the question was withdrawn before it was sent.
    if (signal.aborted && error === signal.reason) return;
    if (this.#mayHaveRun(error)) this.takeBack(name, owner, this.#terms.lostBy?.(error));
  }

  #mayHaveRun(error: unknown): boolean {
    if (error instanceof SolorunError || !wasSent(error)) return false;
    return this.#terms.mayHaveRun?.(error) !== false;
  }
}
