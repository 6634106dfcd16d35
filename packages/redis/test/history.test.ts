import type { LockProvider } from '@solorun/core';
import { describe, expect, it, vi } from 'vitest';
import { redis } from '../src/index.ts';
import { acquired, asked, never, onRedis } from './server.ts';

// The runs that a hash keeps, and the second chance of one: what the contract cannot see.
const stage = onRedis();
const AT = new Date(1_700_000_000_000);
const occurrence = (attempts = 1, at = AT): { occurrence: { at: Date; attempts: number } } => ({ occurrence: { at, attempts } });

function open(): LockProvider {
  return stage.open(redis({ url: stage.server.url, settleMs: 0 }));
}

async function untilOver(provider: LockProvider, name: string): Promise<void> {
  await vi.waitUntil(async () => (await provider.inspect(name))?.held === false, 5_000);
}

it('keeps a hash as it is after a hundred runs more, and no run that nobody asked to keep', async () => {
  const provider = open();
  const run = async (name: string, history: boolean): Promise<void> => {
    for (let runs = 0; runs < 60; runs += 1) {
      const grant = await acquired(provider, name, { history, leaseMs: 60_000 });
      await provider.release(grant, runs % 2 === 0 ? { result: 'failed', error: `no ${runs}` } : { result: 'done' }, never);
    }
  };
  await run('kept', true);
  const fields = await stage.ask('HLEN', 'solorun:lock:kept');
  await run('kept', true);
  expect(await stage.ask('HLEN', 'solorun:lock:kept')).toBe(fields);
  expect(await provider.runs('kept', 99)).toHaveLength(50);
  await run('plain', false);
  // Its owner before was kept, and this one is not.
  await run('kept', false);
  expect((await provider.runs('kept', 1))[0]).toMatchObject({ outcome: 'done', error: undefined });
  expect((await stage.ask('HKEYS', 'solorun:lock:plain')) as string[]).not.toEqual(
    expect.arrayContaining([expect.stringContaining('run')]),
  );
});

it('answers a refusal without the runs', async () => {
  const provider = open();
  for (let runs = 0; runs < 50; runs += 1) {
    const grant = await acquired(provider, 'refused', { history: true, leaseMs: 60_000 });
    await provider.release(grant, { result: 'failed', error: 'x'.repeat(400) }, never);
  }
  await acquired(provider, 'refused', { leaseMs: 60_000 });
  const sent = async (): Promise<number> =>
    Number(/total_net_output_bytes:(\d+)/.exec(String(await stage.ask('INFO', 'stats')))![1]);
  const [first, before] = [await sent(), await sent()];
  expect(await provider.tryAcquire(asked('refused'), never)).toMatchObject({ reason: 'held', record: { name: 'refused' } });
  const textOfInfo = before - first;
  expect((await sent()) - before - textOfInfo).toBeLessThan(2_500);
});

it('keeps what holders and errors are made of', async () => {
  const provider = open();
  const holder = { host: 'a"b\\c', pid: 7, label: 'é\n😀 %s %d' };
  const error = 'it "broke" at /etc/x:\n\0\u007F 100 % 😀';
  const grant = await acquired(provider, 'odd', { holder, ...occurrence() });
  await provider.release(grant, { result: 'failed', error }, never);
  expect(await provider.runs('odd', 9)).toMatchObject([{ holder, error, occurrence: AT, attempt: 1, fence: grant.fence }]);
  expect(await provider.inspect('odd')).toMatchObject({ lastRunBy: holder, lastError: error });
});

describe('a run that was lost', () => {
  it('is told of before another one follows, and written once when one does, also by the version that keeps no runs', async () => {
    const provider = open();
    const grant = await acquired(provider, 'lost', { leaseMs: 100, history: true });
    await untilOver(provider, 'lost');
    const [run] = await provider.runs('lost', 9);
    expect(run).toMatchObject({ fence: grant.fence, outcome: 'lost', occurrence: undefined });
    expect(run!.finishedAt!.getTime()).toBeGreaterThanOrEqual(run!.startedAt.getTime() + 100);
    await provider.release(await acquired(provider, 'lost'), { result: 'done' }, never);
    await provider.release(await acquired(provider, 'lost'), { result: 'done' }, never);
    expect(await provider.runs('lost', 9)).toEqual([run]);
  });

  it('is still told to have been the last one when the try that followed it was taken back', async () => {
    const provider = open();
    await acquired(provider, 'back', { leaseMs: 100, ...occurrence(3) });
    await untilOver(provider, 'back');
    const next = await acquired(provider, 'back', { holder: { host: 'next', pid: 1 }, ...occurrence(3) });
    await provider.release(next, { result: 'abandoned' }, never);
    expect(await provider.inspect('back')).toMatchObject({ lastOutcome: 'lost', lastRunBy: { host: 'test.host' } });
    expect(await provider.runs('back', 9)).toMatchObject([{ outcome: 'lost' }]);
  });

  it('has no end that anybody knows if its lease was over by observation alone', async () => {
    const provider = open();
    await acquired(provider, 'stranded', { leaseMs: 200, history: true });
    // As if the clock had been set back by an hour.
    const key = 'solorun:lock:stranded';
    for (const field of ['since', 'until', 'fence']) await stage.ask('HINCRBY', key, field, 3_600_000_000);
    await vi.waitUntil(async () => (await provider.tryAcquire(asked('stranded'), never)).acquired, 5_000);
    expect(await provider.runs('stranded', 9)).toMatchObject([{ outcome: 'lost', finishedAt: undefined }]);
    expect(await provider.inspect('stranded')).toMatchObject({ lastOutcome: 'lost', lastFinishedAt: undefined });
  });

  it('does not undo what an operator has allowed since, when its end is told too late', async () => {
    const provider = open();
    const late = await acquired(provider, 'late', { leaseMs: 100, ...occurrence() });
    await untilOver(provider, 'late');
    expect(await provider.reopen('late', never)).toMatchObject({ state: 'reopened', attempt: 1 });
    await provider.release(late, { result: 'done' }, never);
    expect(await provider.inspect('late')).toMatchObject({ lastOutcome: 'lost', occurrence: { state: 'reopened' } });
    expect((await provider.runs('late', 9)).map(({ outcome }) => outcome)).toEqual(['lost']);
    expect(await acquired(provider, 'late', occurrence())).toMatchObject({ attempt: 2 });
  });
});

it('fails for a hash that somebody has changed by hand, or a key of another kind, and for no other', async () => {
  const provider = open();
  await stage.ask('SET', 'solorun:lock:string', 'mine');
  await stage.ask('HSET', 'solorun:lock:changed', 'run:0', '{');
  await expect(provider.runs('changed', 9)).rejects.toThrow('the record of "changed" cannot be read');
  const calls = [
    provider.runs('string', 9),
    provider.reopen('string', never),
    provider.pause('string', { forMs: 1_000, by: 'kim' }, never),
    provider.resume('string', never),
    provider.forget('string', { untouchedForMs: 0 }, never),
  ];
  for (const call of calls) await expect(call).rejects.toThrow('WRONGTYPE');
  await provider.release(await acquired(provider, 'well'), { result: 'done' }, never);
  const forgotten = await Promise.allSettled(
    ['string', 'well'].map(async (name) => provider.forget(name, { untouchedForMs: 0 }, never)),
  );
  expect(forgotten.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  expect(await stage.ask('GET', 'solorun:lock:string')).toBe('mine');
  // Half of a hash: a lease without anybody who has it.
  await stage.ask('HSET', 'solorun:lock:half', 'until', '5');
  expect(await provider.runs('half', 9)).toEqual([]);
  expect(await acquired(provider, 'half', { history: true })).toMatchObject({ attempt: 1 });
});
