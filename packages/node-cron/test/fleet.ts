import { createSolo, type LockProvider, type Solo, type SoloOptions } from '@solorun/core';
import type { ScheduledTask, TaskContext, TaskOptions } from 'node-cron';
import type { TestContext } from 'vitest';

/** The fastest that cron fires. */
export const EVERY_SECOND = '* * * * * *';
/** A random delay that never ends while a test lasts. */
export const FOREVER_DELAYED = 2 ** 31 - 1;

export const quiet: NonNullable<TaskOptions['logger']> = { info() {}, warn() {}, error() {}, debug() {} };

let names = 0;
/** Tasks of one name are one job, and tests run side by side. */
export const uniqueName = (word: string): string => `${word}-${(names += 1)}`;

/** Solos and tasks that end with their test. */
export class Fleet {
  readonly #ends: (() => Promise<unknown>)[] = [];

  /** One replica of those that share the provider. */
  replica(provider: LockProvider, options: Omit<SoloOptions, 'provider'> = {}): Solo {
    const solo = createSolo({ provider, ...options });
    this.#ends.push(() => solo.close({ keepProvider: true, graceMs: 5_000 }));
    return solo;
  }

  tracked(task: ScheduledTask): ScheduledTask {
    const { forkProcess } = task as { forkProcess?: { kill(): void } };
    this.#ends.push(async () => {
      const destroyed = Promise.allSettled([task.destroy()]);
      // node-cron waits 5 s for a process that is dead, and leaves one alone that was stopped in its random delay.
      if (forkProcess === undefined) await destroyed;
      else forkProcess.kill();
    });
    return task;
  }

  async end(): Promise<void> {
    for (const end of this.#ends.toReversed()) await end();
  }
}

declare module 'vitest' {
  interface TestContext {
    fleet: Fleet;
  }
}

/** For `beforeEach`. Tests run side by side, so each has a fleet of its own. */
export function assemble(context: TestContext): () => Promise<void> {
  const fleet = new Fleet();
  context.fleet = fleet;
  return () => fleet.end();
}

/** The provider with some of its verbs replaced. */
export const like = (provider: LockProvider, verbs: Partial<LockProvider>): LockProvider => ({ ...provider, ...verbs });

export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

export function gate(): Gate {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

export type TaskEvent = Parameters<ScheduledTask['on']>[0];

/** The next event for which `when` is true. */
export function heard(
  task: ScheduledTask,
  event: TaskEvent,
  when: (context: TaskContext) => boolean = () => true,
): Promise<TaskContext> {
  return new Promise((resolve) => {
    const listener = (context: TaskContext): void => {
      if (!when(context)) return;
      task.off(event, listener);
      resolve(context);
    };
    task.on(event, listener);
  });
}

/** The ticks that a task has come to an end with, run or skipped; resolves when there are `count`. */
export async function answered(task: ScheduledTask, count: number): Promise<number[]> {
  const ticks = new Set<number>();
  const isLast = (context: TaskContext): boolean => ticks.add(context.date.getTime()).size >= count;
  await Promise.race(
    (['execution:finished', 'execution:failed', 'execution:skipped'] as const).map((event) => heard(task, event, isLast)),
  );
  return [...ticks];
}

/** Counts the runs of each tick, and how many ran side by side at most. */
export class Journal {
  readonly runs = new Map<number, number>();
  readonly #waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  total = 0;
  running = 0;
  overlap = 0;

  async run(date: Date, work: Promise<unknown> | (() => Promise<unknown>)): Promise<void> {
    const tick = date.getTime();
    this.runs.set(tick, (this.runs.get(tick) ?? 0) + 1);
    this.total += 1;
    this.running += 1;
    this.overlap = Math.max(this.overlap, this.running);
    await (typeof work === 'function' ? work() : work);
    this.running -= 1;
    for (const { count, resolve } of this.#waiting) if (this.total >= count) resolve();
  }

  /** Resolves when so many runs have been made. */
  atLeast(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.total >= count) resolve();
      else this.#waiting.push({ count, resolve });
    });
  }
}
