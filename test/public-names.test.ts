import { existsSync, readdirSync, readFileSync } from 'node:fs';
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

/** What users may import, and we may therefore not take away. Types are not seen here: `packed.test.ts` uses the principal ones. */
const entryPoints: Record<string, { module: object; names: readonly string[] }> = {
  '@solorun/bullmq': { module: bullmq, names: ['JobStoppedError', 'attachWorker', 'isSkipped', 'singletonProcessor'] },
  '@solorun/core': {
    module: core,
    names: [
      'CloseTimeoutError',
      'ClosedError',
      'LeaseLostError',
      'LockBusyError',
      'LockTimeoutError',
      'MAX_NAME_LENGTH',
      'OptionError',
      'ProviderError',
      'RunTimeoutError',
      'SolorunError',
      'UnsupportedError',
      'createSolo',
      'createSuspendAwareClock',
      'intervalOccurrence',
      'judgeOccurrence',
      'messageOf',
      'processClock',
      'quote',
      'trustedUntil',
    ],
  },
  '@solorun/core/memory': { module: memory, names: ['memory'] },
  '@solorun/core/server': {
    module: server,
    names: [
      'Connector',
      'Deadlines',
      'Failure',
      'KeyedMutex',
      'Mutex',
      'Questions',
      'bindVerbs',
      'createAlarm',
      'createBatch',
      'createOutlasted',
      'createWatch',
      'delay',
      'heldBy',
      'neverSent',
      'onceAborted',
      'oneAtATime',
      'refusalOf',
      'settlingRefusal',
      'unlessAborted',
      'unreachable',
      'wasSent',
    ],
  },
  '@solorun/core/testing': { module: testing, names: ['providerContract'] },
  '@solorun/lockfile': { module: lockfile, names: ['lockfile'] },
  '@solorun/node-cron': { module: nodeCron, names: ['schedule', 'soloCoordinator'] },
  '@solorun/postgres': {
    module: postgres,
    names: ['LoginRefusedError', 'PoolerDetectedError', 'guard', 'hostsOf', 'postgresAdvisory', 'postgresLease', 'schemaSql'],
  },
  '@solorun/redis': { module: redis, names: ['redis'] },
};

describe('public names', () => {
  it.each(Object.entries(entryPoints))('of %s', (_, { module, names }) => {
    expect(Object.keys(module).sort()).toEqual(names);
  });

  it('are listed here for every entry point of every package', () => {
    const packages = new URL('../packages/', import.meta.url);
    const found: string[] = [];
    for (const directory of readdirSync(packages)) {
      const manifest = new URL(`${directory}/package.json`, packages);
      // A checkout of another branch leaves directories behind.
      if (!existsSync(manifest)) continue;
      const { name, exports } = JSON.parse(readFileSync(manifest, 'utf8')) as { name: string; exports: object };
      found.push(...Object.keys(exports).map((path) => name + path.slice(1)));
    }
    expect(found.filter((path) => !path.endsWith('/package.json')).sort()).toEqual(Object.keys(entryPoints).sort());
  });
});
