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
  const fields = [...table.matchAll(/^\| ([^|]*) \|/gm)].flatMap(([, cell]) =>
    [...cell!.matchAll(/`([a-z]+(?::\d+)?)`/g)].map(([, field]) => field!),
  );
  return kindsOf(fields);
}

/** The slots of runs are one kind of field. */
function kindsOf(fields: readonly string[]): string[] {
  return [...new Set(fields.map((field) => field.replace(/:\d+$/, ':0')))].sort();
}

it('has the fields that the documentation lists, with what it says of them', async () => {
  const provider = stage.open(redis({ url: stage.server.url, settleMs: 0 }));
  const leaseMs = 60_000;
  const told = { attempts: 1, scheduleHash: 'digest', schedule: { everyMs: 60_000 }, nextDueAt: new Date(AT + 60_000) };
  const occurrence = (at: number): object => ({ leaseMs, occurrence: { at: new Date(at), ...told } });
  await provider.release(await acquired(provider, 'nightly-report', occurrence(AT - 1)), { result: 'done' }, never);
  const grant = await acquired(provider, 'nightly-report', occurrence(AT));
  const held = await fieldsNow();
  expect(held).toMatchObject({ lease: String(leaseMs), mark: `${AT} claimed 1`, claim: `${AT - 1} done 1`, schedule: 'digest' });
  expect(held).toMatchObject({ plan: '{"everyMs":60000}', next: String(AT + 60_000), runs: '1' });
  expect(Number(held['until']) - Number(held['since'])).toBe(leaseMs * 1_000);

  await provider.release(grant, { result: 'failed', error: 'no paper' }, never);
  const released = await fieldsNow();
  expect(released).toMatchObject({ mark: `${AT} failed 1`, error: 'no paper' });
  expect(released).not.toHaveProperty('until');
  expect(released).toMatchObject({ ran: `failed ${held['since']} ${released['took']}`, ranby: held['by'] });
  expect(JSON.parse(released['run:1']!)).toEqual({
    ...{ fence: Number(grant.fence), since: Number(held['since']), ended: Number(held['since']) + Number(released['took']) },
    ...{ outcome: 'failed', at: AT, attempt: 1, by: JSON.parse(held['by']!) as unknown, error: 'no paper' },
  });

  const plain = await acquired(provider, 'nightly-report', { leaseMs, history: true });
  const { until } = await provider.pause('nightly-report', { forMs: leaseMs, by: 'kim', note: 'why' }, never);
  const paused = await fieldsNow();
  expect(paused).toMatchObject({ mark: `${AT} failed 1`, claim: '', keep: plain.owner });
  expect(paused).toMatchObject({ paused: `${until.getTime()}000 {"by":"kim","note":"why"}`, known: expect.any(String) });
  expect(kindsOf(Object.keys({ ...held, ...released, ...paused }))).toEqual(documented());
});

it('hands out a greater fence than before also when the server has lost its data in between', async () => {
  const provider = stage.open(redis({ url: stage.server.url, settleMs: 0 }));
  const { fence } = await acquired(provider, 'job');
  await stage.ask('FLUSHALL');
  expect((await acquired(provider, 'job')).fence).toBeGreaterThan(fence);
});
