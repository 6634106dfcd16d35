/** One after the other, per key. */
export interface Line<K> {
  enter<T>(key: K, job: () => Promise<T>): Promise<T>;
}

export function createLine<K>(): Line<K> {
  const tails = new Map<K, Promise<unknown>>();

  return {
    enter(key, job) {
      const before = tails.get(key);
      const turn = before === undefined ? job() : before.then(job, job);
      tails.set(key, turn);
      const leave = (): void => {
        if (tails.get(key) === turn) tails.delete(key);
      };
      turn.then(leave, leave);
      return turn;
    },
  };
}
