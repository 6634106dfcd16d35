import { ChildProcess } from 'node:child_process';
import { createRequire } from 'node:module';
import { messageOf, type Outcome } from '@solorun/core';
import { getTasks, type ScheduledTask, type TaskContext } from 'node-cron';

/*
 * How a tick ends, as far as node-cron reports it.
 *
 * `onComplete` alone is not enough. node-cron (read in 4.4.1, 4.5.0 and 4.6.0) does not call it
 *  - when `stop()` cancels the random delay, since 4.6; until 4.5 `stop()` let a delayed handler run all the same;
 *  - when the process of a background task ends before its handler does: a crash, `process.exit()`, a `stop()` that timed out;
 *  - when that process got no answer within 5 s because this one was stalled;
 * and it reports no failures. The task's own events, the execution that they carry and the task's process show the rest.
 */

/** Hears how a tick goes. */
export interface TickListener {
  /** It is over, or it will never start. */
  ended(outcome: Outcome): void;
  /** True: node-cron may never report its end. False: it will after all. */
  inDoubt(doubt: boolean): void;
}

export interface Ear {
  /** To be called just before node-cron gets its yes, without waiting for anything in between. */
  granted(): void;
  /** Stops listening. */
  close(): void;
}

/** Listens to the tasks of that name in this process, from before the tick is granted. */
export function listenToTick(name: string, at: Date, listener: TickListener): Ear {
  return new TickEar(tasksNamed(name), at, listener);
}

type TaskEvent = Parameters<ScheduledTask['on']>[0];

class TickEar implements Ear {
  /** Several tasks may bear the name: a test's fleet, or a mistake. */
  readonly #tasks: readonly ScheduledTask[];
  readonly #at: number;
  readonly #listener: TickListener;
  readonly #ends: (() => void)[] = [];
  #granted = false;
  /** The task that runs the tick, and the one of its executions that does. */
  #run: { readonly task: ScheduledTask; readonly execution: NonNullable<TaskContext['execution']> } | undefined;
  /** Whether the handler is called in this process; undefined until that shows. */
  #inline: boolean | undefined;

  constructor(tasks: readonly ScheduledTask[], at: Date, listener: TickListener) {
    this.#tasks = tasks;
    this.#at = at.getTime();
    this.#listener = listener;
    for (const task of tasks) this.#listenTo(task);
  }

  granted(): void {
    this.#granted = true;
    this.#listener.inDoubt(true);
    // Between our answer and an inline task's timer of the random delay node-cron only awaits what is settled. So when the microtasks
    // are through, it has reported that the tick started, and the execution that it handed over shows whether the handler was called.
    // The messages of a background task come later, and carry copies.
    queueMicrotask(() => {
      process.nextTick(() => {
        this.#inline = this.#run !== undefined;
      });
    });
  }

  close(): void {
    for (const end of this.#ends) end();
  }

  #listenTo(task: ScheduledTask): void {
    this.#on(task, 'execution:started', (context) => this.#started(task, context));
    this.#on(task, 'execution:finished', (context) => {
      if (this.#isRun(task, context)) this.#listener.ended({ result: 'done' });
    });
    this.#on(task, 'execution:failed', (context) => {
      if (this.#isRun(task, context)) this.#listener.ended({ result: 'failed', error: messageOf(context.execution?.error) });
    });
    this.#on(task, 'execution:skipped', (context) => this.#skipped(context));
    this.#on(task, 'task:stopped', () => this.#stopped(task));
    this.#ends.push(onProcessGone(task, () => this.#processGone(task)));
  }

  #on(task: ScheduledTask, event: TaskEvent, heard: (context: TaskContext) => void): void {
    task.on(event, heard);
    this.#ends.push(() => task.off(event, heard));
  }

  #isRun(task: ScheduledTask, context: TaskContext): boolean {
    return this.#run?.task === task && this.#run.execution.id === context.execution?.id;
  }

  #started(task: ScheduledTask, { execution, date }: TaskContext): void {
    if (!this.#granted || this.#run !== undefined) return;
    if (execution?.reason !== 'scheduled' || date.getTime() !== this.#at) return;
    this.#run = { task, execution };
    this.#listener.inDoubt(false);
  }

  #skipped({ reason, date }: TaskContext): void {
    // The process of a background task gave up waiting for our answer.
    const gaveUp = reason === 'coordinator-error' && date.getTime() === this.#at;
    if (gaveUp && this.#isOnlyOne()) this.#listener.ended({ result: 'abandoned' });
  }

  #stopped(task: ScheduledTask): void {
    const run = this.#run;
    // Before an inline task has set the timer of its delay, stop() cancels nothing.
    if (run?.task !== task || this.#inline === undefined) return;
    // For a background task nothing here shows whether the delay was cancelled or the handler still runs.
    if (!this.#inline) this.#listener.inDoubt(true);
    else if (stopCancelsDelay(task) && run.execution.startedAt === undefined) this.#listener.ended({ result: 'abandoned' });
  }

  #processGone(task: ScheduledTask): void {
    if (this.#run?.task === task) {
      this.#listener.ended({ result: 'failed', error: 'the process of the background task ended' });
    } else if (this.#isOnlyOne()) this.#listener.ended({ result: 'abandoned' });
  }

  /** Before the tick has started: an event that names no execution can only be about this tick. */
  #isOnlyOne(): boolean {
    return this.#run === undefined && this.#tasks.length === 1;
  }
}

/** node-cron keeps a registry of its tasks in each of its copies: the one that this file imports, and those that a program requires. */
function tasksNamed(name: string): ScheduledTask[] {
  const registries = [getTasks(), ...requiredRegistries()];
  return registries.flatMap((tasks) => [...tasks.values()].filter((task) => task.name === name));
}

const requiredCopy = /[\\/]node-cron[\\/]dist[\\/]node-cron\.cjs$/;
const { cache } = createRequire(process.execPath);

function requiredRegistries(): Map<string, ScheduledTask>[] {
  return Object.keys(cache)
    .filter((path) => requiredCopy.test(path))
    .map((path) => cache[path]?.exports as { readonly getTasks?: typeof getTasks } | undefined)
    .flatMap((copy) => copy?.getTasks?.() ?? []);
}

/** Since 4.6 `stop()` cancels the random delay; the same release brought `unref()`. */
function stopCancelsDelay(task: ScheduledTask): boolean {
  return typeof task.unref === 'function';
}

/**
 * node-cron does not report a background process that ends with status 0 or by SIGTERM, so the process itself is watched. It is a
 * private field; without it such a tick stays in doubt.
 */
function onProcessGone(task: ScheduledTask, gone: () => void): () => void {
  const child = (task as { readonly forkProcess?: unknown }).forkProcess;
  if (!(child instanceof ChildProcess)) return () => {};
  let open = true;
  // Its last messages may arrive after its end, and they say more.
  const look = (): void => {
    const ended = child.exitCode !== null || child.signalCode !== null;
    if (open && ended && !child.connected) gone();
  };
  child.on('exit', look);
  child.on('disconnect', look);
  return () => {
    open = false;
    child.off('exit', look);
    child.off('disconnect', look);
  };
}
