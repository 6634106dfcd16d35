import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { AcquireRequest, AcquireResult, Grant, JobRecord, LockProvider, Outcome } from '@solorun/core';
import { memory } from '@solorun/core/memory';
import fc from 'fast-check';
import { lockfile } from '@solorun/lockfile';
import { postgresAdvisory, postgresLease } from '@solorun/postgres';
import { redis } from '@solorun/redis';
import { postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis, type Redis } from '@solorun/servers/redis';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';

const never = new AbortController().signal;
const missing = process.env['CI'] === 'true' ? undefined : (postgresMissing() ?? redisMissing());
if (missing !== undefined) process.stderr.write(`SKIPPED: the comparison of all providers. ${missing}\n`);

let postgres: Postgres;
let redisServer: Redis;
const directory = mkdtempSync(join(tmpdir(), 'solorun-differential-'));
beforeAll(async () => {
  if (missing !== undefined) return;
  postgres = await startPostgres();
  redisServer = await startRedis();
});
beforeEach(({ skip }) => {
  if (missing !== undefined) skip(missing);
});
afterAll(async () => {
  await postgres?.stop();
  await redisServer?.stop();
  rmSync(directory, { recursive: true, force: true });
});

type Step =
  | {
      readonly verb: 'try';
      readonly replica: number;
      readonly at: number | undefined;
      readonly attempts: number;
      readonly hash: string;
    }
  | { readonly verb: 'release'; readonly which: number; readonly outcome: Outcome }
  | { readonly verb: 'renew'; readonly which: number };

const steps = fc.array(
  fc.oneof(
    fc.record({
      verb: fc.constant('try' as const),
      replica: fc.nat(1),
      // The last one lies in the future.
      at: fc.option(fc.constantFrom(0, 1, 1_000, 2_000, 3_000, 3_600_000 * 24), { nil: undefined, freq: 4 }),
      attempts: fc.integer({ min: 1, max: 3 }),
      hash: fc.constantFrom('s1', 's2'),
    }),
    fc.record({
      verb: fc.constant('release' as const),
      which: fc.nat(5),
      outcome: fc.constantFrom<Outcome>({ result: 'done' }, { result: 'failed', error: 'boom "x"\n' }, { result: 'abandoned' }),
    }),
    fc.record({ verb: fc.constant('renew' as const), which: fc.nat(5) }),
  ),
  { minLength: 4, maxLength: 16 },
);

/** What must be the same, whatever the clock and the counter of a provider. */
function record(of: JobRecord | undefined): unknown {
  if (of === undefined) return undefined;
  const { name, held, owner, holder, occurrence, lastError, scheduleHash, lastSuccessAt, lastDurationMs } = of;
  const [succeeded, lasted] = [lastSuccessAt !== undefined, lastDurationMs !== undefined];
  return { name, held, owner, host: holder.host, occurrence, lastError, scheduleHash, succeeded, lasted };
}

function answer(of: AcquireResult, { occurrence }: AcquireRequest): unknown {
  if (of.acquired) return { attempt: of.grant.attempt, previous: occurrence && of.grant.previous };
  return { reason: of.reason, host: of.reason === 'held' ? of.holder?.host : undefined, record: record(of.record) };
}

it(
  'every provider agrees with the one in memory on every answer and every record, whatever is asked in whatever order',
  { timeout: 120_000 },
  async () => {
    setMaxListeners(0, never);
    const connectionString = postgres.url;
    const kinds = [
      () => postgresAdvisory({ connectionString }),
      () => postgresLease({ connectionString }),
      () => redis({ url: redisServer.url, settleMs: 0 }),
      () => lockfile({ directory }),
    ];
    const pairs = kinds.map((open) => [open(), open()]);
    const base = Date.now() - 100_000;
    const property = fc.asyncProperty(steps, async (script: readonly Step[]) => {
      const reference = memory();
      const fleets: LockProvider[][] = [[reference, reference], ...pairs];
      const name = `differential ${randomUUID()}`;
      const held: { replica: number; grants: Grant[] }[] = [];
      const told = async (ask: (fleet: LockProvider[], index: number) => Promise<unknown>): Promise<void> => {
        const answers: unknown[] = [];
        for (const [index, fleet] of fleets.entries()) {
          const answered = await ask(fleet, index);
          // Whoever is asked writes down first what it has not yet.
          const records = [await fleet[1]!.inspect(name), await fleet[0]!.inspect(name)];
          answers.push([answered, record(records[1])]);
        }
        for (const other of answers.slice(1)) expect(other).toEqual(answers[0]);
      };
      for (const step of script) {
        if (step.verb === 'try') {
          const occurrence =
            step.at === undefined ? undefined : { at: new Date(base + step.at), attempts: step.attempts, scheduleHash: step.hash };
          const request: AcquireRequest = {
            name,
            owner: randomUUID(),
            leaseMs: 60_000,
            holder: { host: 'ü "x"', pid: 5 },
            occurrence,
          };
          const grants: Grant[] = [];
          await told(async (fleet) => {
            const result = await fleet[step.replica]!.tryAcquire(request, never);
            if (result.acquired) grants.push(result.grant);
            return answer(result, request);
          });
          if (grants.length > 0) held.push({ replica: step.replica, grants });
          continue;
        }
        const one = held[step.which % Math.max(1, held.length)];
        if (one === undefined) continue;
        await told(async (fleet, index) => {
          const [provider, grant] = [fleet[one.replica]!, one.grants[index]!];
          return step.verb === 'renew' ? provider.renew(grant, never) : provider.release(grant, step.outcome, never);
        });
      }
      for (const { replica, grants } of held) {
        for (const [index, fleet] of fleets.entries())
          await fleet[replica]!.release(grants[index]!, { result: 'abandoned' }, never);
      }
    });
    await fc.assert(property, { numRuns: 120 });
    await Promise.all(pairs.flat().map((provider) => provider.close()));
  },
);
