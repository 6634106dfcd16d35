import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { redis } from '../src/index.ts';
import { acquired, never, onRedis } from './server.ts';

const stage = onRedis();

const KEY = 'solorun:lock:nightly-report';
const AT = 1_700_000_000_000;

async function fieldsNow(): Promise<Readonly<Record<string, string>>> {
  const pairs = (await stage.ask('HGETALL', KEY)) as string[];
  return Object.fromEntries(pairs.flatMap((field, index) => (index % 2 === 0 ? [[field, pairs[index + 1]!]] : [])));
}

/** The fields that docs/redis.md lists, in the first column of their table. */
function documented(): string[] {
  const page = readFileSync(new URL('../../../docs/redis.md', import.meta.url), 'utf8');
  const [, table = ''] = /\| field of `solorun:lock:<name>` \|(.*?)\n\n/s.exec(page) ?? [];
  return [...table.matchAll(/^\| ([^|]*) \|/gm)]
    .flatMap(([, cell]) => [...cell!.matchAll(/`([a-z]+)`/g)].map(([, field]) => field!))
    .sort();
}

it('has the fields that the documentation lists, with what it says of them', async () => {
  const provider = stage.open(redis({ url: stage.server.url, settleMs: 0 }));
  const leaseMs = 60_000;
  const occurrence = (at: number): object => ({ leaseMs, occurrence: { at: new Date(at), attempts: 1, scheduleHash: 'digest' } });
  await provider.release(await acquired(provider, 'nightly-report', occurrence(AT - 1)), { result: 'done' }, never);
  const grant = await acquired(provider, 'nightly-report', occurrence(AT));
  const held = await fieldsNow();
  expect(held).toMatchObject({ lease: String(leaseMs), mark: `${AT} claimed 1`, claim: `${AT - 1} done 1`, schedule: 'digest' });
  expect(Number(held['until']) - Number(held['since'])).toBe(leaseMs * 1_000);

  await provider.release(grant, { result: 'failed', error: 'no paper' }, never);
  const released = await fieldsNow();
  expect(released).toMatchObject({ mark: `${AT} failed 1`, error: 'no paper' });
  expect(released).not.toHaveProperty('until');
  expect(Object.keys({ ...held, ...released }).sort()).toEqual(documented());

  await acquired(provider, 'nightly-report', { leaseMs });
  expect(await fieldsNow()).toMatchObject({ mark: `${AT} failed 1`, claim: '' });
});

it('hands out a greater fence than before also when the server has lost its data in between', async () => {
  const provider = stage.open(redis({ url: stage.server.url, settleMs: 0 }));
  const { fence } = await acquired(provider, 'job');
  await stage.ask('FLUSHALL');
  expect((await acquired(provider, 'job')).fence).toBeGreaterThan(fence);
});
