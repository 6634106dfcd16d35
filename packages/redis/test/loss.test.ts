import { setMaxListeners } from 'node:events';
import { createSolo, type LeaseLostError, type Solo } from '@solorun/core';
import { startProxy } from '@solorun/servers/network';
import { startRedis, startRedisCluster, type Redis } from '@solorun/servers/redis';
import { Cluster } from 'ioredis';
import { beforeEach, expect, it, vi, type TestContext } from 'vitest';
import { redis } from '../src/index.ts';
import { asked, askOf, missingHere, never, until } from './server.ts';

// What becomes of those who hold and of those who wait when the server, or the way to it, fails.
const missing = missingHere();
vi.setConfig({ testTimeout: 60_000 });
beforeEach(({ skip }) => {
  if (missing !== undefined) skip(missing);
});

/** Where it must be lost. Where it must not, a longer one: a machine that is busy for a second should not fail the test. */
const LEASE_MS = 1_000;
const LONG_MS = 5_000;
const NAMES = Array.from({ length: 20 }, (_, n) => `job ${n}`);

/** A server of the test's own that has been running for longer than a lease, and solos on it. */
async function open(
  { onTestFinished }: TestContext,
  leaseMs: number,
  settings: Readonly<Record<string, string | number>> = {},
): Promise<{ readonly server: Redis; readonly soloOn: (url?: string) => Solo }> {
  const server = await startRedis({ settings });
  onTestFinished(() => server.stop());
  const soloOn = (url = server.url): Solo => {
    const solo = createSolo({ provider: redis({ url }), leaseMs });
    onTestFinished(() => solo.close());
    return solo;
  };
  await soloOn().run('settled', () => {}, { onBusy: 'wait', waitMs: 20_000 });
  return { server, soloOn };
}

interface Scene {
  /** What happened to each name, in order: the holder was told, the next one holds. */
  readonly told: Map<string, ('holder told' | 'next holds')[]>;
  readonly reasons: Set<string>;
  /** Resolves when whoever waits has got every name. */
  readonly handedOn: Promise<unknown>;
  readonly holding: readonly Promise<unknown>[];
  letGo(): void;
}

/** One holds all the names, until it is told that it lost them or `letGo()`; another waits for each. */
async function holdAll(holder: Solo, next: Solo): Promise<Scene> {
  const told: Scene['told'] = new Map(NAMES.map((name) => [name, []]));
  const reasons = new Set<string>();
  const done = new AbortController();
  setMaxListeners(0, done.signal);
  let held = 0;
  const holding = NAMES.map((name) =>
    holder
      .run(name, async ({ signal }) => {
        held += 1;
        await new Promise<void>((resolve) => {
          done.signal.addEventListener('abort', () => resolve());
          signal.addEventListener('abort', () => {
            reasons.add((signal.reason as LeaseLostError).reason);
            told.get(name)!.push('holder told');
            resolve();
          });
        });
      })
      .catch(() => {}),
  );
  await until('all are held', () => held === NAMES.length);
  const waiting = NAMES.map((name) =>
    next.run(name, () => void told.get(name)!.push('next holds'), { onBusy: 'wait', waitMs: 30_000 }),
  );
  await new Promise((resolve) => setTimeout(resolve, LEASE_MS / 2));
  return { told, reasons, handedOn: Promise.all(waiting), holding, letGo: () => done.abort() };
}

const inTime = NAMES.map((name) => [name, ['holder told', 'next holds']]);

it.concurrent('tells every holder before anybody else holds, when the server is killed and comes back without its data', async (context) => {
  const { server, soloOn } = await open(context, LEASE_MS);
  const scene = await holdAll(soloOn(), soloOn());
  await server.kill();
  await server.start();
  await scene.handedOn;
  expect([...scene.told]).toEqual(inTime);
});

it.concurrent('loses no lease when the server is killed and comes back with its data', async (context) => {
  const { server, soloOn } = await open(context, LONG_MS, { appendonly: 'yes', appendfsync: 'always' });
  const scene = await holdAll(soloOn(), soloOn());
  await server.kill();
  await server.start();
  await new Promise((resolve) => setTimeout(resolve, LONG_MS * 1.5));
  expect([...scene.told.values()].flat()).toEqual([]);
  scene.letGo();
  await scene.handedOn;
  expect([...scene.told]).toEqual(NAMES.map((name) => [name, ['next holds']]));
});

it.concurrent('tells every holder in time when the server is paused for longer than the lease, and keeps nothing of what was asked meanwhile', async (context) => {
  const { server, soloOn } = await open(context, LEASE_MS);
  const scene = await holdAll(soloOn(), soloOn());
  await askOf(server.port, 'CLIENT', 'PAUSE', LEASE_MS * 3, 'ALL');
  const late = soloOn();
  const given = new AbortController();
  const tried = late.run('asked in the pause', () => {}, { signal: given.signal }).catch((error: unknown) => error);
  setTimeout(() => given.abort(new Error('gone')), 100);
  expect(await tried).toMatchObject({ message: 'gone' });
  await scene.handedOn;
  expect([...scene.told]).toEqual(inTime);
  expect([...scene.reasons]).toEqual(['expired']);
  await until('what was asked in the pause is free', async () => (await late.tryAcquire('asked in the pause')) !== undefined);
});

it.concurrent('tells every holder in time when the server is frozen', async (context) => {
  const { server, soloOn } = await open(context, LEASE_MS);
  const scene = await holdAll(soloOn(), soloOn());
  server.freeze();
  await until('all are told', () => [...scene.told.values()].every(([first]) => first === 'holder told'));
  server.thaw();
  await scene.handedOn;
  expect([...scene.told]).toEqual(inTime);
});

it.concurrent('keeps every lease when connections are cut again and again, and still hands them on', async (context) => {
  const { server, soloOn } = await open(context, LONG_MS);
  const scene = await holdAll(soloOn(), soloOn());
  for (let round = 0; round < 8; round += 1) {
    await askOf(server.port, 'CLIENT', 'KILL', 'TYPE', 'normal');
    await askOf(server.port, 'CLIENT', 'KILL', 'TYPE', 'pubsub');
    await new Promise((resolve) => setTimeout(resolve, LONG_MS / 5));
  }
  expect([...scene.told.values()].flat()).toEqual([]);
  scene.letGo();
  await scene.handedOn;
  expect([...scene.told]).toEqual(NAMES.map((name) => [name, ['next holds']]));
});

it.concurrent('does not notice that the server has forgotten the scripts', async (context) => {
  const { server, soloOn } = await open(context, LONG_MS);
  const solo = soloOn();
  const trouble: unknown[] = [];
  solo.on('unconfirmed', (detail) => trouble.push(detail));
  for (let round = 0; round < 3; round += 1) {
    const result = await solo.run('flushed', async ({ signal }) => {
      await askOf(server.port, 'SCRIPT', 'FLUSH');
      await new Promise((resolve) => setTimeout(resolve, LONG_MS / 2));
      return signal.aborted;
    });
    expect(result).toMatchObject({ status: 'ran', value: false, released: true });
    await askOf(server.port, 'SCRIPT', 'FLUSH');
  }
  expect(trouble).toEqual([]);
});

it.concurrent('grants nothing on a replica that took over, until leases that it never heard of are over', async (context) => {
  const { server, soloOn } = await open(context, LEASE_MS);
  const proxy = await startProxy({ port: server.port });
  context.onTestFinished(() => proxy.stop());
  const replica = await server.replica({ replicaof: `127.0.0.1 ${proxy.port}` });
  // Long in service, but as a follower.
  await new Promise((resolve) => setTimeout(resolve, LEASE_MS * 1.5));
  proxy.cut();
  const scene = await holdAll(soloOn(), soloOn());
  await server.kill();
  await askOf(replica.port, 'REPLICAOF', 'NO', 'ONE');
  const other = soloOn(replica.url);
  expect(await other.inspect(NAMES[0]!)).toBeUndefined();
  await other.run(NAMES[0]!, () => void scene.told.get(NAMES[0]!)!.push('next holds'), { onBusy: 'wait', waitMs: 20_000 });
  expect(scene.told.get(NAMES[0]!)).toEqual(['holder told', 'next holds']);
  // That it has been in charge for long enough is known from now on, also to those who come later.
  const later = await soloOn(replica.url).run('later', () => 1);
  expect(later.status).toBe('ran');
  scene.letGo();
  scene.handedOn.catch(() => {});
});

it.concurrent('locks on the nodes of a cluster that are there, also in programs that start while one is away', async ({
  onTestFinished,
}) => {
  const { nodes, stop } = await startRedisCluster();
  onTestFinished(stop);
  for (const { port } of nodes) await askOf(port, 'CONFIG', 'SET', 'cluster-require-full-coverage', 'no');
  await nodes[2]!.kill();
  const noticed = async (): Promise<boolean> => String(await askOf(nodes[0]!.port, 'CLUSTER', 'NODES')).includes('fail ');
  await until('the others know', noticed);
  // Several, since some of what ioredis asks goes to a node that it draws.
  const programs = Array.from({ length: 8 }, () => {
    const client = new Cluster([nodes[0]!.url], { lazyConnect: true });
    return createSolo({ provider: redis({ client }) });
  });
  onTestFinished(async () => void (await Promise.all(programs.map((solo) => solo.close()))));
  const tried = programs.map(async (solo) => {
    // What became of each name, in the order in which it was known. Another program may be running it.
    const known: string[] = [];
    const tell = (what: string) => (): void => void known.push(what);
    await Promise.all(NAMES.map((name) => solo.run(name, () => {}).then(tell('there'), tell('away'))));
    return known;
  });
  for (const known of await Promise.all(tried)) {
    const there = known.indexOf('away');
    expect(there, known.join()).toBeGreaterThan(0);
    // None had to wait for one whose node is away.
    expect(known).toEqual(NAMES.map((_, position) => (position < there ? 'there' : 'away')));
  }
});

it.concurrent('looks for its server anew when that has become a replica, and once more before it grants anything there again', async (context) => {
  const { server, soloOn } = await open(context, LEASE_MS);
  const solo = soloOn();
  expect((await solo.run('moved', () => 1)).status).toBe('ran');
  const replica = await server.replica();
  await askOf(replica.port, 'REPLICAOF', 'NO', 'ONE');
  await askOf(server.port, 'REPLICAOF', '127.0.0.1', replica.port);
  await expect(solo.run('moved', () => 1)).rejects.toThrow(/READONLY/);
  await expect(solo.run('moved', () => 1)).rejects.toThrow(/read-only replica: connect to the primary|still loading/);
  // It leads again, and never heard of what was granted meanwhile.
  await askOf(server.port, 'REPLICAOF', 'NO', 'ONE');
  let answer: unknown;
  await until('it answers', async () => (answer = await solo.run('moved', () => 1).catch(() => undefined)) !== undefined);
  expect(answer).toMatchObject({ status: 'skipped', reason: 'held', holder: undefined });
});

it.concurrent('renews and releases on a server whose memory is full, and refuses new locks with its words', async (context) => {
  const { server, soloOn } = await open(context, LONG_MS);
  const solo = soloOn();
  const result = await solo.run('full', async ({ signal }) => {
    await askOf(server.port, 'CONFIG', 'SET', 'maxmemory', 1);
    await new Promise((resolve) => setTimeout(resolve, LONG_MS * 1.5));
    await expect(solo.run('another', () => {})).rejects.toThrow(/redis: cannot acquire "another": OOM/);
    return signal.aborted;
  });
  expect(result).toMatchObject({ status: 'ran', value: false, released: true });
  expect(await solo.inspect('full')).toMatchObject({ held: false, lastSuccessAt: expect.any(Date) });
});

it.concurrent('keeps the history of what was held when the memory was full, and lets an operator pause, resume and clear up', async (context) => {
  const { server, soloOn } = await open(context, LONG_MS);
  const solo = soloOn();
  const occurrence = new Date(Date.now() - 1_000);
  await solo.run('old', () => {});
  const full = async (): Promise<void> => {
    await askOf(server.port, 'CONFIG', 'SET', 'maxmemory', 1);
    await solo.pause('full', { note: 'no memory' });
    throw new Error('no memory');
  };
  await expect(solo.run('full', full, { occurrence })).rejects.toThrow('no memory');
  expect(await solo.runs('full')).toMatchObject([{ outcome: 'failed', occurrence }]);
  expect(await solo.run('full', () => {}, { occurrence, attempts: 9 })).toMatchObject({ status: 'skipped', reason: 'paused' });
  expect(await solo.resume('full')).toBe(true);
  expect(await solo.prune({ olderThanMs: 0, prefix: 'old' })).toBe(1);
  // The words of the server, and nothing half done.
  await expect(solo.run('full', () => {}, { occurrence, attempts: 9 })).rejects.toThrow(/OOM/);
  await expect(solo.rerun('full')).rejects.toThrow(/OOM/);
  expect(await solo.inspect('full')).toMatchObject({ held: false, occurrence: { state: 'failed', attempt: 1 } });
});

it.concurrent('grants nothing on a full server for having cleared up before it: a lost run, a pause that is over', async (context) => {
  const { server } = await open(context, LONG_MS);
  const provider = redis({ url: server.url, settleMs: 0 });
  context.onTestFinished(() => provider.close());
  const lost = asked('lost', { leaseMs: 100, history: true });
  await provider.tryAcquire(lost, never);
  await provider.pause('lost', { until: new Date(Date.now() - 1), by: 'kim' }, never);
  await until('it is lost', async () => (await provider.inspect('lost'))?.held === false);
  await askOf(server.port, 'CONFIG', 'SET', 'maxmemory', 1);
  await expect(provider.tryAcquire(asked('lost'), never)).rejects.toThrow(/OOM/);
  await askOf(server.port, 'CONFIG', 'SET', 'maxmemory', 0);
  expect(await provider.inspect('lost')).toMatchObject({ owner: lost.owner, lastOutcome: 'lost' });
  expect(await provider.tryAcquire(asked('lost'), never)).toMatchObject({ acquired: true });
});
