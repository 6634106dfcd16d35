/**
 * The common parts of providers that talk to a server: questions of one turn in one message, a connection that is opened again, tries
 * that are taken back when their answer never came. For providers; nothing here is needed to use one.
 *
 * @module
 */
export { delay, onceAborted, unlessAborted } from '../abort.ts';
export { bindVerbs } from '../bind-verbs.ts';
export { createAlarm, type Alarm } from '../alarm.ts';
export { Deadlines, type DeadlinesTerms } from '../deadlines.ts';
export { checkKnown, ofRun, type KnownOptions } from '../known-options.ts';
export { pauseInForce, pauseOf } from '../pause.ts';
export { isUntouched } from '../retention.ts';
export { MOST_RUNS, withRun } from '../history.ts';
export { heldBy, refusalOf, settlingRefusal } from '../refusal.ts';
export { createBatch, Failure, oneAtATime, type Batch } from './batch.ts';
export { Connector } from './connector.ts';
export { KeyedMutex, Mutex } from './mutex.ts';
export { createOutlasted, type Outlasted } from './outlasted.ts';
export { Questions, type QuestionsTerms } from './questions.ts';
export { neverSent, wasSent } from './sent.ts';
export { unreachable } from './unreachable.ts';
export { createWatch, type Watch, type WatchTerms } from './watch.ts';
