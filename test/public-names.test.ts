import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as bullmq from '@solorun/bullmq';
import * as core from '@solorun/core';
import * as memory from '@solorun/core/memory';
import * as server from '@solorun/core/server';
import * as testing from '@solorun/core/testing';
import * as lockfile from '@solorun/lockfile';
import * as nodeCron from '@solorun/node-cron';
import * as redis from '@solorun/redis';
import * as postgres from '@solorun/postgres';
import { apiPages } from '../scripts/api.js';
import { entryPoints, isType } from '../scripts/declarations.js';

const reference = join(import.meta.dirname, '../docs/api');

interface Names {
  readonly module: object;
  /** Functions, classes and constants. */
  readonly names: readonly string[];
  readonly types: readonly string[];
}

/** All that users may import: nothing of it may be taken away. */
const listed: Record<string, Names> = {
  '@solorun/bullmq': {
    module: bullmq,
    names: ['JobStoppedError', 'attachWorker', 'isSkipped', 'singletonProcessor'],
    types: [
      'AnyResultJob',
      'AttachOptions',
      'BusyAction',
      'BusyDecision',
      'BusyOptions',
      'PutOffOptions',
      'SingletonHandler',
      'SingletonOptions',
      'SingletonProcessor',
      'SkippedJob',
      'StopCause',
    ],
  },
  '@solorun/core': {
    module: core,
    names: [
      'CloseTimeoutError',
      'ClosedError',
      'LeaseLostError',
      'LockBusyError',
      'LockPausedError',
      'LockTimeoutError',
      'MAX_NAME_LENGTH',
      'NotReadyError',
      'OptionError',
      'ProviderError',
      'RunTimeoutError',
      'SolorunError',
      'UnsupportedError',
      'closeOnSignals',
      'createSolo',
      'createSuspendAwareClock',
      'intervalOccurrence',
      'judgeOccurrence',
      'logEvents',
      'messageOf',
      'pingUrl',
      'processClock',
      'quote',
      'sentryMonitor',
      'trustedUntil',
      'warnUnlessReady',
    ],
    types: [
      'AcquireOptions',
      'AcquireRequest',
      'AcquireResult',
      'BackoffOptions',
      'BusyPolicy',
      'Claim',
      'ClaimOptions',
      'Clock',
      'CloseOnSignalsOptions',
      'CloseOptions',
      'ElectOptions',
      'Election',
      'EndedRun',
      'EventLogger',
      'Explanation',
      'Finding',
      'ForceReleaseOptions',
      'ForgetTerms',
      'Grant',
      'GuaranteeInUse',
      'Guarantees',
      'Handler',
      'Holder',
      'Identity',
      'JobRecord',
      'Lease',
      'LeaseOptions',
      'ListOptions',
      'LockProvider',
      'LogEventsOptions',
      'LogLevel',
      'LossReason',
      'MissedOccurrence',
      'NamedPause',
      'Occurrence',
      'OccurrenceOptions',
      'OccurrenceRequest',
      'OccurrenceState',
      'OccurrenceVerdict',
      'OutageOptions',
      'Outcome',
      'Pause',
      'PauseOptions',
      'PauseTerms',
      'PingOptions',
      'PruneOptions',
      'Ran',
      'ReadyOptions',
      'Refusal',
      'RunContext',
      'RunEndHook',
      'RunHook',
      'RunOptions',
      'RunOutcome',
      'RunRecord',
      'RunResult',
      'Schedule',
      'SentryCheckIns',
      'SentryMonitorOptions',
      'SkipReason',
      'Skipped',
      'Solo',
      'SoloEventName',
      'SoloEvents',
      'SoloOptions',
      'StartedRun',
      'Term',
      'TimesBetween',
      'WatchOptions',
    ],
  },
  '@solorun/core/memory': { module: memory, names: ['memory'], types: ['MemoryOptions'] },
  '@solorun/core/server': {
    module: server,
    names: [
      'Connector',
      'Deadlines',
      'Failure',
      'KeyedMutex',
      'MOST_RUNS',
      'Mutex',
      'Questions',
      'bindVerbs',
      'checkKnown',
      'createAlarm',
      'createBatch',
      'createOutlasted',
      'createWatch',
      'delay',
      'heldBy',
      'isUntouched',
      'neverSent',
      'ofRun',
      'onceAborted',
      'oneAtATime',
      'pauseInForce',
      'pauseOf',
      'refusalOf',
      'settlingRefusal',
      'unlessAborted',
      'unreachable',
      'wasSent',
      'withRun',
    ],
    types: ['Alarm', 'Batch', 'DeadlinesTerms', 'KnownOptions', 'Outlasted', 'QuestionsTerms', 'Watch', 'WatchTerms'],
  },
  '@solorun/core/testing': { module: testing, names: ['providerContract'], types: ['ContractCase', 'ContractOptions'] },
  '@solorun/lockfile': {
    module: lockfile,
    names: ['lockfile'],
    types: ['Care', 'FileStore', 'LocalLockOptions', 'Lockfile', 'LockfileOptions', 'Proof', 'StoredFile'],
  },
  '@solorun/node-cron': {
    module: nodeCron,
    names: ['schedule', 'soloCoordinator'],
    types: ['CatchUpPolicy', 'CoordinatorOptions', 'ScheduleContext', 'ScheduleHandler', 'ScheduleOptions', 'SoloCoordinator'],
  },
  '@solorun/postgres': {
    module: postgres,
    names: ['LoginRefusedError', 'PoolerDetectedError', 'guard', 'hostsOf', 'postgresAdvisory', 'postgresLease', 'schemaSql'],
    types: [
      'Guarded',
      'Host',
      'PostgresAdvisoryOptions',
      'PostgresConnection',
      'PostgresLeaseOptions',
      'PostgresPool',
      'SchemaOptions',
    ],
  },
  '@solorun/redis': { module: redis, names: ['redis'], types: ['RedisClient', 'RedisOptions'] },
};

describe('public names', () => {
  it.each(Object.entries(listed))('of %s', (_, { module, names }) => {
    expect(Object.keys(module).sort()).toEqual(names);
  });

  it.each(entryPoints())('types of $path', ({ path, exported }) => {
    expect(exported.filter(isType).map(({ name }) => name)).toEqual(listed[path]?.types);
  });

  it('are listed here for every entry point of every package', () => {
    expect(entryPoints().map(({ path }) => path)).toEqual(expect.arrayContaining(Object.keys(listed)));
    expect(entryPoints()).toHaveLength(Object.keys(listed).length);
  });
});

describe('the API reference', () => {
  it('says what the packages export (npm run api writes it)', async () => {
    const written = new Map(readdirSync(reference).map((name) => [name, readFileSync(join(reference, name), 'utf8')]));
    const made = await apiPages();
    expect([...written.keys()].toSorted()).toEqual([...made.keys()].toSorted());
    for (const [name, text] of made) expect(written.get(name), name).toBe(text);
  });
});
