import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { killAll, start, type JsonProcess, type Said } from './json-process.ts';
import { now } from './programs/say.js';
import { expectSkewedReplicasToRunEachTickOnce, expectStoppedHolderToBeToldFirst, hasFaketime, program } from './stories.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'solorun-test-'));
});
afterEach(() => {
  killAll();
  rmSync(directory, { recursive: true, force: true });
});

const store = (): string => pathToFileURL(directory).href;

describe('eight processes on one lock', () => {
  it('lose no update of the file it protects, while two of them are killed and restarted', { timeout: 180_000 }, async () => {
    const times = 500;
    const file = join(directory, 'count.json');
    writeFileSync(file, JSON.stringify({ count: 0, fence: '0', workers: {} }));
    const said: Said[] = [];
    const worker = (n: number): JsonProcess =>
      start(program('count'), [pathToFileURL(join(directory, 'locks')).href, file, `w${n}`, String(times)]);
    let kills = 0;

    /** Killed again and again, until it has counted enough. */
    const mortal = async (n: number): Promise<void> => {
      for (;;) {
        const process = worker(n);
        const life = new AbortController();
        const death = sleep(300 + Math.random() * 700, undefined, { signal: life.signal }).then(
          () => process.kill('SIGKILL'),
          () => {},
        );
        const status = await process.ended;
        life.abort();
        await death;
        said.push(...process.said);
        if (status === 0) return;
        expect(status).toBe('SIGKILL');
        kills += 1;
      }
    };
    const immortal = async (n: number): Promise<void> => {
      const process = worker(n);
      expect(await process.ended).toBe(0);
      said.push(...process.said);
    };
    await Promise.all([mortal(0), mortal(1), ...[2, 3, 4, 5, 6, 7].map(immortal)]);

    const end = JSON.parse(readFileSync(file, 'utf8')) as { count: number; workers: Record<string, number> };
    expect(Object.values(end.workers)).toEqual(Array.from({ length: 8 }, () => times));
    expect(end.count).toBe(8 * times);
    // Each of the updates that were told built on the one before it, and under a greater fence.
    const updates = said.map(({ count, fence, before }) => ({ count: Number(count), fence: BigInt(fence as string), before }));
    updates.sort((a, b) => a.count - b.count);
    for (const [index, { count, fence, before }] of updates.entries()) {
      expect(fence > BigInt(before as string)).toBe(true);
      const next = updates[index + 1];
      if (next === undefined) continue;
      expect(next.count).toBeGreaterThan(count);
      expect(next.fence > fence).toBe(true);
    }
    expect(kills).toBeGreaterThan(2);
  });
});

describe('a holder that is stopped past its lease', () => {
  it('is followed within the lease and a second, and learns of it before it does anything more', { timeout: 60_000 }, async () => {
    await expectStoppedHolderToBeToldFirst(store());
  });
});

describe('a holder that is killed', () => {
  it('is followed on the same occurrence by a standby, in well under a second', { timeout: 60_000 }, async () => {
    const at = new Date(Date.now() - 1_000).toISOString();
    const holder = start(program('work'), [store(), '30000', at, '100000']);
    await holder.says('step');
    const standby = start(program('work'), [store(), '30000', at, '3']);
    await standby.says('waiting');
    await sleep(300);
    const killedAt = now();
    holder.kill('SIGKILL');
    const successor = await standby.says('started');
    expect(successor).toMatchObject({ attempt: 2, recovering: true });
    expect(Number(successor['at']) - killedAt).toBeLessThan(1_000);
    expect(await standby.ended).toBe(0);
    expect(standby.said.at(-1)).toMatchObject({ status: 'ran' });
  });
});

describe('two replicas, one of which fires 200 ms late', () => {
  it('run each of 30 ticks once', { timeout: 90_000 }, async () => {
    const replicas = [start(program('tick'), [store(), '0']), start(program('tick'), [store(), '200'])];
    await Promise.all(replicas.map((replica) => replica.says('ready')));
    await sleep(31_500);
    for (const replica of replicas) replica.kill('SIGTERM');
    for (const replica of replicas) expect(await replica.ended).toBe(0);

    const runs = replicas.flatMap(({ said }) => said).filter((line) => 'ran' in line);
    const slots = runs.map(({ ran }) => String(ran)).sort();
    expect(new Set(slots).size).toBe(slots.length);
    expect(slots.length).toBeGreaterThanOrEqual(30);
    const [first, last] = [Date.parse(slots[0]!), Date.parse(slots.at(-1)!)];
    expect(slots.length).toBe((last - first) / 1_000 + 1);
    // The late replica asked for the ticks too.
    expect(replicas[1]!.said.filter(({ skipped }) => skipped === 'done' || skipped === 'held').length).toBeGreaterThan(20);
  });
});

describe('replicas whose clocks are two minutes apart', () => {
  it.runIf(hasFaketime)('run each tick once, and none before its time (needs faketime)', { timeout: 60_000 }, async () => {
    await expectSkewedReplicasToRunEachTickOnce(store(), 10, 20);
  });
});
