import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readRecord, writeRecord, type LockRecord } from '../src/record.ts';
import type { KeptRun } from '../src/runs.ts';

const instants = fc.integer({ min: 0, max: 4e12 });
const occurrences = fc.record({
  at: instants.map((ms) => new Date(ms)),
  state: fc.constantFrom('claimed' as const, 'done' as const, 'failed' as const),
  attempt: fc.integer({ min: 1, max: 9 }),
});
const optional = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(values, { nil: undefined });
const runs: fc.Arbitrary<KeptRun> = fc.record({
  fence: fc.bigInt({ min: 1n, max: 10n ** 18n - 1n }).map(String),
  attempt: fc.integer({ min: 1, max: 9 }),
  by: fc.record({ host: fc.string(), pid: fc.nat() }),
  from: instants,
  outcome: fc.constantFrom('done' as const, 'failed' as const, 'lost' as const),
});
const records: fc.Arbitrary<LockRecord> = fc.record({
  name: fc.string({ unit: 'binary', minLength: 1 }),
  state: fc.constantFrom('held' as const, 'released' as const),
  owner: fc.uuid(),
  holder: fc.record({ host: fc.string(), pid: fc.nat() }),
  acquiredAt: instants,
  leaseMs: fc.option(fc.nat(), { nil: null }),
  proof: fc.record({ pid: fc.nat() }),
  claimed: fc.boolean(),
  occurrence: optional(occurrences),
  previous: optional(occurrences),
  lastStartedAt: optional(instants),
  lastSuccessAt: optional(instants),
  lastDurationMs: optional(fc.nat()),
  lastError: optional(fc.string()),
  scheduleHash: optional(fc.string()),
  schedule: optional(fc.oneof(fc.record({ everyMs: fc.nat() }), fc.record({ expression: fc.string(), timezone: fc.string() }))),
  nextDueAt: optional(instants),
  knownSince: optional(instants),
  last: optional(
    fc.record({
      finishedAt: optional(instants),
      outcome: fc.constantFrom('done' as const, 'failed' as const, 'lost' as const),
      by: fc.record({ host: fc.string(), pid: fc.nat() }),
      since: instants,
    }),
  ),
  history: optional(fc.constant(true)),
  runs: optional(fc.array(runs, { maxLength: 50 })),
  start: optional(fc.bigInt({ min: 0n, max: 10n ** 18n - 1n })),
  follows: optional(fc.bigInt({ min: 0n, max: 10n ** 18n - 1n })),
  editing: optional(fc.constant(true)),
  closed: optional(fc.constant(true)),
  // A later version's fields, whatever their names are.
  others: optional(
    fc.dictionary(
      fc.string().map((key) => `x${key}`),
      // What has been through JSON: it keeps no -0.
      fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown),
      { minKeys: 1, noNullPrototype: true },
    ),
  ),
});

describe('a record', () => {
  it('reads as it was written', () => {
    fc.assert(
      fc.property(records, (record) => {
        expect(readRecord(writeRecord(record))).toEqual(record);
      }),
    );
  });

  it('is not taken for whole when it was cut short', () => {
    fc.assert(
      fc.property(records, fc.double({ min: 0, max: 1, noNaN: true }), (record, part) => {
        const body = writeRecord(record).trimEnd();
        expect(readRecord(body.slice(0, Math.floor((body.length - 1) * part)))).toBeUndefined();
      }),
    );
  });

  it('is passed over when it is something else', () => {
    for (const body of ['', '{}', 'null', '[]', '17', '{"solorun":"1"}', '{"solorun":1,"name":"x"}']) {
      expect(readRecord(body)).toBeUndefined();
    }
  });
});
