import { startProxy } from '@solorun/servers/network';
import { redisMissing, startRedis, type Redis } from '@solorun/servers/redis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fenceLog } from './fence-log.ts';
import { killAll, start, type JsonProcess } from './json-process.ts';
import { until } from './postgres.ts';
import { now } from './programs/say.js';
import { expectSkewedReplicasToRunEachTickOnce, expectStoppedHolderToBeToldFirst, hasFaketime, program } from './stories.ts';

const missing = redisMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: processes that share a Redis. ${missing}\n`);

describe.runIf(missing === undefined || process.env['CI'] === 'true')('on Redis', () => {
  let server: Redis;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterEach(killAll);
  afterAll(() => server?.stop());
  const store = (url = server.url): string => `${url}?settleMs=0`;

  it(
    'a holder that is stopped is followed within the lease and a second, and is told before it does anything more',
    { timeout: 60_000 },
    async () => {
      await expectStoppedHolderToBeToldFirst(store());
    },
  );

  it('a holder that is killed is followed on the same occurrence when its lease ends', { timeout: 60_000 }, async () => {
    const args = [store(), '1500', new Date(Date.now() - 1_000).toISOString()];
    const holder = start(program('work'), [...args, '100000']);
    await holder.says('step');
    const standby = start(program('work'), [...args, '3']);
    await standby.says('waiting');
    const killedAt = now();
    holder.kill('SIGKILL');
    const successor = await standby.says('started');
    expect(successor).toMatchObject({ attempt: 2, recovering: true });
    expect(Number(successor['at']) - killedAt).toBeLessThan(1_500 + 1_000);
    expect(await standby.ended).toBe(0);
  });

  it(
    'a holder whose cable is cut is told so before a waiter at the server gets in, each of 20 times',
    { timeout: 120_000 },
    async () => {
      const leaseMs = '1500';
      const [pairs, cuts] = [5, 4];
      const proxy = await startProxy({ port: server.port });
      const name = (round: number, pair: number): string => `cut-${round}-${pair}`;
      const each = <T>(act: (pair: number) => Promise<T>): Promise<T[]> =>
        Promise.all(Array.from({ length: pairs }, (_, pair) => act(pair)));
      const holders: JsonProcess[] = [];
      const waiters: JsonProcess[] = [];
      try {
        for (let round = 0; round < cuts; round += 1) {
          await each(async (pair) => {
            const which = name(round, pair);
            if (round === 0) holders.push(start(program('hold'), [store(proxy.through(server.url)), which, leaseMs]));
            else holders[pair]!.write(`acquire ${which}`);
            await holders[pair]!.says('held', { name: which });
          });
          await each(async (pair) => {
            const which = name(round, pair);
            if (round === 0) waiters.push(start(program('hold'), [store(), which, leaseMs]));
            else waiters[pair]!.write(`acquire ${which}`);
            await waiters[pair]!.says('busy', { busy: which });
          });
          proxy.cut();
          await each(async (pair) => {
            const which = { name: name(round, pair) };
            const got = await waiters[pair]!.says('held', which);
            const told = await holders[pair]!.says('lost', which);
            expect(Number(told['at']), which.name).toBeLessThan(Number(got['at']));
          });
          proxy.mend();
          proxy.breakAll();
        }
      } finally {
        await proxy.stop();
      }
    },
  );

  it.runIf(hasFaketime)(
    'replicas whose clocks are two minutes apart run each tick once (needs faketime)',
    { timeout: 60_000 },
    async () => {
      await expectSkewedReplicasToRunEachTickOnce(store(), 10, 20);
    },
  );
});

describe.runIf(missing === undefined || process.env['CI'] === 'true')('fences of Redis', () => {
  const { written, expectToGrow, startWorkers } = fenceLog();
  afterEach(killAll);

  it(
    'strictly grow in the order of holding, over 3,200 acquisitions by 8 processes and a restart of the server',
    { timeout: 240_000 },
    async () => {
      await using server = await startRedis({ settings: { appendonly: 'yes', appendfsync: 'always' } });
      const workers = startWorkers(8, `${server.url}?settleMs=0`, '400');
      await until('half of it is done', () => written().length >= 1_600);
      await server.kill();
      await server.start();
      for (const worker of workers) expect(await worker.ended).toBe(0);
      expect(written()).toHaveLength(3_200);
      expectToGrow();
    },
  );

  it(
    'never repeat or go back, although the server loses all it knew, five times, under those who acquire',
    { timeout: 180_000 },
    async () => {
      await using server = await startRedis();
      const workers = startWorkers(4, server.url, 'Infinity', '1000');
      for (let kills = 0; kills < 5; kills += 1) {
        const before = written().length;
        await until('they go on by themselves', () => written().length > before + 50);
        await server.kill();
        await server.start();
      }
      const before = written().length;
      await until('they go on by themselves', () => written().length > before + 50);
      for (const worker of workers) worker.kill('SIGTERM');
      for (const worker of workers) expect(await worker.ended).toBe(0);
      expectToGrow();
    },
  );
});
