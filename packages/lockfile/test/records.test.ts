import { getEventListeners } from 'node:events';
import type { JobRecord } from '@solorun/core';
import { expect, it } from 'vitest';
import { lockfile } from '../src/index.ts';
import type { FileStore } from '../src/store.ts';

/** One lock that is held, in a place that stops answering when it is asked to. */
function store(): FileStore & { hangs: boolean } {
  const record = { solorun: 1, name: 'job', state: 'held', owner: 'a', leaseMs: null };
  const answer = async <T>(value: T): Promise<T> => (place.hangs ? new Promise(() => {}) : value);
  const place = {
    kind: 'test',
    hangs: false,
    granularityMs: 10,
    proof: { pid: process.pid },
    createExclusive: () => answer(false),
    read: () => answer({ body: JSON.stringify(record), modifiedAt: Date.now() }),
    write: () => answer(true),
    list: () => answer(['job.1.lock']),
    letGo: () => answer(undefined),
    remove: () => answer(undefined),
    now: () => answer(Date.now()),
    close: async () => {},
  };
  return place;
}

const verbs = ['inspect', 'list'] as const;

function ask(verb: (typeof verbs)[number], on: FileStore, signal: AbortSignal): Promise<string | undefined> {
  const provider = lockfile({ store: on });
  if (verb === 'inspect') return provider.inspect('job', signal).then((record) => record?.name);
  const records: AsyncIterator<JobRecord> = provider.list('', signal)[Symbol.asyncIterator]();
  return records.next().then(({ value }) => (value as JobRecord | undefined)?.name);
}

it.each(verbs)('%s lets a caller go that gives up while the store does not answer', async (verb) => {
  const place = store();
  place.hangs = true;
  const quit = new AbortController();
  const asked = ask(verb, place, quit.signal);
  quit.abort(new Error('given up'));
  await expect(asked).rejects.toBe(quit.signal.reason);
});

it.each(verbs)('%s leaves no listener on the signal of its caller', async (verb) => {
  const { signal } = new AbortController();
  expect(await ask(verb, store(), signal)).toBe('job');
  // The last one goes in the same turn of the event loop.
  await new Promise(setImmediate);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});
