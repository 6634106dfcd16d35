import { quote } from '@solorun/core';
import { Failure } from '@solorun/core/server';

/** A reply that comes by itself is a promise. */
export type Replies = readonly unknown[];

export function readAll<A>(
  replies: Replies,
  read: (reply: unknown, index: number) => A | Failure | Promise<A>,
): readonly (A | Failure | Promise<A>)[] {
  return replies.map((reply, index) => {
    if (!(reply instanceof Promise)) return read(reply, index);
    return reply.then((late: unknown): A | Promise<A> => {
      const answer = read(late, index);
      if (answer instanceof Failure) throw answer.error;
      return answer;
    });
  });
}

export function yesOrNo(reply: unknown): boolean | Failure {
  return typeof reply === 'number' ? reply === 1 : new Failure(refused(reply));
}

export function orUndefined(reply: unknown): unknown {
  return reply instanceof Promise ? reply.catch(() => undefined) : reply;
}

/** The complaint of the server about a key that it cannot use, of another type for instance. */
export function refused(words: unknown): Error {
  return Object.assign(new Error(String(words)), { answered: true });
}

export function unreadable(name: string, error: unknown): string {
  return `the record of ${quote(name)} cannot be read: ${(error as Error).message}`;
}
