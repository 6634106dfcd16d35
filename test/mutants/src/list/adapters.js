// @ts-check

/** @import { Mutant } from '../mutant.js' */

/** @param {string} file @param {string} test */
const ofCron = (file, test) => ({ project: 'node-cron', file: `test/${file}.test.ts`, test });
/** @param {string} file @param {string} test */
const ofBullmq = (file, test) => ({ project: 'bullmq', file: `test/${file}.test.ts`, test });

/** @type {readonly Mutant[]} */
export const adapters = [
  {
    name: 'runs a tick without claiming its occurrence',
    package: 'node-cron',
    file: 'src/schedule.ts',
    from: '{ ...terms, occurrence: date, nextDueAt, timesBetween }',
    to: 'terms',
    caughtBy: ofCron('schedule', 'does not run a tick twice when a replica fires 200 ms late'),
  },
  {
    name: 'lets a coordinator lock a tick without claiming its occurrence',
    package: 'node-cron',
    file: 'src/coordinator.ts',
    from: 'return { occurrence, maxEarlyMs',
    to: 'return { maxEarlyMs',
    caughtBy: ofCron('coordinator', 'does not run a tick twice when a replica fires 200 ms late'),
  },
  {
    name: 'starts a tick beside a handler whose lease is lost and which still runs here',
    package: 'node-cron',
    file: 'src/coordinator.ts',
    from: 'if (tick.signal.aborted || this.#ticks.has(name)) {',
    to: 'if (tick.signal.aborted) {',
    caughtBy: ofCron('coordinator', 'starts no later tick beside a handler that lost its lease'),
  },
  {
    name: 'gives the lock back when stop() comes while the handler runs',
    package: 'node-cron',
    file: 'src/tick.ts',
    from: 'else if (stopCancelsDelay(task) && run.execution.startedAt === undefined)',
    to: 'else if (stopCancelsDelay(task))',
    caughtBy: ofCron('coordinator', 'keeps the lock when stop() comes while the handler runs'),
  },
  {
    name: 'completes a job that failed before because a later occurrence has been claimed',
    package: 'bullmq',
    file: 'src/job-run.ts',
    from: "if (reason === 'superseded' && endedBadly(this.#job)) {",
    to: "if (reason === 'superseded' && this.#job.stalledCounter > 0) {",
    caughtBy: ofBullmq('processor', 'whose run failed is not completed when a later one has been claimed meanwhile'),
  },
  {
    name: 'skips a job that has failed, and so completes it',
    package: 'bullmq',
    file: 'src/job-run.ts',
    from: "if (onBusy === 'skip' && !endedBadly(this.#job)) return",
    to: "if (onBusy === 'skip' && this.#job.stalledCounter === 0) return",
    caughtBy: ofBullmq('processor', 'is not skipped when it has failed: a failure is not to end as completed'),
  },
  {
    name: 'skips a job though nobody may have run it, as the provider has just come back',
    package: 'bullmq',
    file: 'src/job-run.ts',
    from: 'if (settling === true) return this.#later(new LockBusyError(name, holder, undefined, true));',
    to: '',
    caughtBy: ofBullmq('processor', 'is not skipped while a provider that has just come back grants nothing'),
  },
  {
    name: 'goes on with the count of tries of a job that has run and failed since',
    package: 'bullmq',
    file: 'src/spell.ts',
    from: 'if (last === undefined || last.failures !== failures || last.stalls !== stalls) return begins;',
    to: 'if (last === undefined) return begins;',
    caughtBy: ofBullmq('spell', 'is over when the job has failed or stalled since'),
  },
];
