import { parse, type ScheduledTask } from 'node-cron';

const MINUTE_MS = 60_000;
/** What the offsets of zones from UTC are, beside whole hours, in minutes. */
const OFFSETS: readonly number[] = [0, 15, 30, 45];

/** The scheduled times of a task that lie in the past; for the next one node-cron has `getNextRun()`. */
export class Instants {
  readonly #task: ScheduledTask;
  /** Of a minute, from the last one down. */
  readonly #seconds: readonly number[];
  /** Of an hour in UTC, whatever the zone: only these are worth asking node-cron about, which takes 30 µs each. */
  readonly #minutes: ReadonlySet<number>;

  constructor(task: ScheduledTask, expression: string) {
    const { second, minute } = parse(expression);
    this.#task = task;
    this.#seconds = second.toSorted((a, b) => b - a);
    this.#minutes = new Set(minute.flatMap((each) => OFFSETS.map((offset) => (each + offset) % 60)));
  }

  /** Those after `after` and up to `upTo`, the latest first. */
  *between(after: Date, upTo: Date): Generator<Date, void, undefined> {
    const last = Math.floor(upTo.getTime() / MINUTE_MS);
    const first = Math.floor(after.getTime() / MINUTE_MS);
    for (let minute = last; minute >= first; minute -= 1) {
      if (!this.#minutes.has(((minute % 60) + 60) % 60)) continue;
      const [some] = this.#seconds;
      if (some === undefined || !this.#task.match(new Date(minute * MINUTE_MS + some * 1_000))) continue;
      for (const second of this.#seconds) {
        const at = new Date(minute * MINUTE_MS + second * 1_000);
        if (at > after && at <= upTo) yield at;
      }
    }
  }
}
