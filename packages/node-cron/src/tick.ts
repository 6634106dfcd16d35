import { ChildProcess } from 'node:child_process';
import { createRequire } from 'node:module';
import { messageOf, type Outcome } from '@solorun/core';
import { getTasks, type ScheduledTask, type TaskContext } from 'node-cron';

/*
 * How a tick ends, as far as node-cron lets anyone know.
 *
 * `onComplete` alone is not enough. node-cron (read in 4.4.1, 4.5.0 and 4.6.0) does not call it
 *  - when `stop()` cancels the random delay, since 4.6; until 4.5 `stop()` let a delayed handler run all the same;
 *  - when the process of a background task ends before its handler does: a crash, `process.exit()`, a `stop()` that timed out;
 *  - when that process got no answer within 5 s because this one was stalled;
 * and it says nothing of failures. The task's own events, the execution they carry and the task's process tell the rest.
 */

/** What becomes known of a tick. */
export interface TickListener {
  /** It is over, or it will never start. */
  ended(outcome: Outcome): void;
  /** True: node-cron may never tell of its end. False: it will after all. */
  inDoubt(doubt: boolean): void;
}

export interface Ear {
  /** To be called just before node-cron is told to go ahead, without waiting for anything in between. */
  granted(): void;
  /** Stops listening. */
  close(): void;
}

type TaskEvent = Parameters<ScheduledTask['on']>[0];

/** Listens to the tasks of that name in this process, from before the tick is granted. */
export function listenToTick(name: string, at: Date, listener: TickListener): Ear {
  const tasks = tasksNamed(name);
  /** Which task runs the tick, and in which of its executions. Several tasks may bear the name: a test's fleet, or a mistake. */
  let run: { readonly task: ScheduledTask; readonly execution: NonNullable<TaskContext['execution']> } | undefined;
  let granted = false;
  /** Whether the handler is called in this process; undefined until that shows. */
  let inline: boolean | undefined;
  const ends: (() => void)[] = [];

  function on(task: ScheduledTask, event: TaskEvent, heard: (context: TaskContext) => void): void {
    task.on(event, heard);
    ends.push(() => task.off(event, heard));
  }
  const isRun = (task: ScheduledTask, context: TaskContext): boolean =>
    run?.task === task && run.execution.id === context.execution?.id;

  for (const task of tasks) {
    on(task, 'execution:started', (context) => {
      const { execution } = context;
      if (!granted || run !== undefined || execution?.reason !== 'scheduled' || context.date.getTime() !== at.getTime()) return;
      run = { task, execution };
      listener.inDoubt(false);
    });
    on(task, 'execution:finished', (context) => {
      if (isRun(task, context)) listener.ended({ result: 'done' });
    });
    on(task, 'execution:failed', (context) => {
      if (isRun(task, context)) listener.ended({ result: 'failed', error: messageOf(context.execution?.error) });
    });
    on(task, 'execution:skipped', (context) => {
      // The process of a background task gave up waiting for our answer.
      const gaveUp = context.reason === 'coordinator-error' && context.date.getTime() === at.getTime();
      if (gaveUp && run === undefined && tasks.length === 1) listener.ended({ result: 'abandoned' });
    });
    on(task, 'task:stopped', () => {
      // Before an inline task has set the timer of its delay, stop() cancels nothing.
      if (run?.task !== task || inline === undefined) return;
      // Of a background task nobody here can tell whether the delay was cancelled or the handler still runs.
      if (!inline) listener.inDoubt(true);
      else if (stopCancelsDelay(task) && run.execution.startedAt === undefined) listener.ended({ result: 'abandoned' });
    });
    const end = onProcessGone(task, () => {
      if (run?.task === task) listener.ended({ result: 'failed', error: 'the process of the background task ended' });
      else if (run === undefined && tasks.length === 1) listener.ended({ result: 'abandoned' });
    });
    ends.push(end);
  }

  return {
    granted() {
      granted = true;
      listener.inDoubt(true);
      // Between our answer and an inline task's timer of the random delay node-cron only awaits what is settled, so when the
      // microtasks are through, it has said that the tick started, and the execution that it handed over shows whether the handler
      // was called. The messages of a background task come later, and carry copies.
      queueMicrotask(() => {
        process.nextTick(() => {
          inline = run !== undefined;
        });
      });
    },
    close() {
      for (const end of ends) end();
    },
  };
}

/** node-cron keeps a registry of its tasks in each of its copies: the one imported here, and those that a program requires. */
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
 * node-cron keeps silent about a background process that ends with status 0 or by SIGTERM, so look at the process itself. It is a
 * private field; without it such a tick stays in doubt.
 */
function onProcessGone(task: ScheduledTask, gone: () => void): () => void {
  const child = (task as { readonly forkProcess?: unknown }).forkProcess;
  if (!(child instanceof ChildProcess)) return () => {};
  let open = true;
  // Its last messages may arrive after its end, and they know better.
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
