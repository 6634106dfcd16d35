import assert from 'node:assert/strict';
import type { JobRecord, LockProvider } from '../provider.ts';
import { casesOf, mustAcquire, newName, settled, within, type ContractCase, type ContractOptions } from './harness.ts';

/** Readers of records, and operators, that give up. */
export function readingCases(options: ContractOptions): ContractCase[] {
  const promise = casesOf(options, 'G8');

  return [
    promise('reads no record for a caller that has given up', async ({ open }) => {
      const a = await open();
      if (!a.guarantees.occurrences) return;
      const name = newName();
      await mustAcquire(a, name);
      const reason = new Error('given up');
      const rejectsWithIt = (error: unknown): boolean => error === reason;
      await assert.rejects(async () => a.inspect(name, AbortSignal.abort(reason)), rejectsWithIt);
      await assert.rejects(async () => firstOf(a, name, AbortSignal.abort(reason)), rejectsWithIt);
    }),

    promise('lets a caller go that gives up while records are read', async ({ open }) => {
      const a = await open();
      if (!a.guarantees.occurrences) return;
      const name = newName();
      await mustAcquire(a, name);
      const reason = new Error('given up');
      const controller = new AbortController();
      const reading = [settled(a.inspect(name, controller.signal)), settled(firstOf(a, name, controller.signal))];
      controller.abort(reason);
      for (const answer of await within(10_000, Promise.all(reading), 'the reader was not let go')) {
        assert(!(answer instanceof Error) || answer === reason, 'a reader that gave up gets no other error than its own reason');
      }
    }),

    promise('examines its server, if it can, and not for a caller that has given up', async ({ open }) => {
      const a = await open();
      if (a.examine === undefined) return;
      for (const { check, state, says } of await a.examine()) {
        assert(check !== '' && says !== '', 'a finding names what was checked, and says what was found');
        assert(['ok', 'note', 'unsafe'].includes(state), `a server that answers is ${state}: ${check} ${says}`);
      }
      const reason = new Error('given up');
      await assert.rejects(
        async () => a.examine!(AbortSignal.abort(reason)),
        (error) => error === reason,
      );
    }),
  ];
}

async function firstOf(provider: LockProvider, prefix: string, signal: AbortSignal): Promise<JobRecord | undefined> {
  const next = await provider.list(prefix, signal)[Symbol.asyncIterator]().next();
  return next.done === true ? undefined : next.value;
}
