import { createSolo } from '@solorun/core';
import { postgresAdvisory } from '@solorun/postgres';
import { networkNamespace, networkNamespaceMissing, startProxy } from '@solorun/servers/network';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { start, type JsonProcess } from './json-process.ts';
import { hasPostgres, kinds, nameOf, onPostgres, until } from './postgres.ts';
import { now } from './programs/say.js';
import { expectStoppedHolderToBeToldFirst, program } from './stories.ts';

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

describe.runIf(hasPostgres)('on Postgres, a holder', () => {
  // A namespace reaches the server by the address of its cable.
  const stage = onPostgres({ listen_addresses: '*', max_connections: 200 });
  const waiting = async (): Promise<number> =>
    Number((await stage.sql(`SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`))[0]!['n']);

  it('that is killed is followed by the first of the queue within 250 ms, median over 20', { timeout: 90_000 }, async () => {
    const args = [stage.store('advisory'), 'killed', '30000'];
    const first = start(program('hold'), args);
    await first.says('held');
    const queue = Array.from({ length: 20 }, () => start(program('hold'), args));
    await until('all stand in the queue', async () => (await waiting()) === 20);

    const took: number[] = [];
    let holder = first;
    let fence = 1n;
    while (queue.length > 0) {
      const killed = now();
      holder.kill('SIGKILL');
      // Whoever came first.
      holder = await Promise.any(queue.map((process) => process.says('held').then(() => process)));
      queue.splice(queue.indexOf(holder), 1);
      const { at, held } = await holder.says('held');
      took.push(Number(at) - killed);
      expect(BigInt(String(held))).toBeGreaterThan(fence);
      fence = BigInt(String(held));
    }
    expect(took).toHaveLength(20);
    expect(median(took)).toBeLessThan(250);
  });

  for (const kind of kinds) {
    it(
      `that is stopped is followed within the lease and a second, and is told before it does anything more (${nameOf[kind]})`,
      { timeout: 60_000 },
      async () => {
        await expectStoppedHolderToBeToldFirst(stage.store(kind));
      },
    );
  }

  it(
    'whose session lock has no end keeps it while it is stopped, and that is what explain() says',
    { timeout: 60_000 },
    async () => {
      const solo = createSolo({ provider: postgresAdvisory({ connectionString: stage.server.url }) });
      expect(String(solo.explain({ leaseMs: null }))).toMatch(/a paused holder keeps it/);
      expect(solo.explain({ leaseMs: null }).failoverMs).toEqual({ killed: 1_000, pausedOrCutOff: Number.POSITIVE_INFINITY });
      await solo.close();

      const args = [stage.store('advisory'), 'endless', 'null'];
      const holder = start(program('hold'), args);
      await holder.says('held');
      const waiter = start(program('hold'), args);
      await until('the waiter stands in the queue', async () => (await waiting()) === 1);
      holder.kill('SIGSTOP');
      await sleep(4_000);
      expect(await waiting()).toBe(1);
      expect(waiter.said).not.toContainEqual(expect.objectContaining({ name: 'endless' }));
      holder.kill('SIGCONT');
      holder.write('release');
      expect(await holder.says('released')).toMatchObject({ released: true });
      expect(await holder.ended).toBe(0);
      expect(holder.said).not.toContainEqual(expect.objectContaining({ name: 'endless', lost: expect.anything() as unknown }));
      await waiter.says('held');
    },
  );

  describe('behind a cable that is cut', () => {
    const leaseMs = 1_500;
    const [pairs, cuts] = [5, 4];

    /** What lies between the holders and the server. */
    function cable(): Promise<{ url: string; within: readonly string[]; cut(): void; mend(): void; remove(): unknown }> {
      const why = networkNamespaceMissing();
      if (why !== undefined) {
        process.stderr.write(`No network namespace, so a proxy that swallows everything takes its place. ${why}\n`);
        return startProxy({ port: stage.server.port }).then((proxy) => ({
          url: proxy.through(stage.server.url),
          within: [],
          cut: () => proxy.cut(),
          mend: () => proxy.mend(),
          remove: () => proxy.stop(),
        }));
      }
      const namespace = networkNamespace();
      return Promise.resolve({
        url: stage.server.urlFor({ host: namespace.hostAddress }),
        within: namespace.command,
        cut: () => namespace.cut(),
        mend: () => namespace.mend(),
        remove: () => namespace.remove(),
      });
    }

    for (const kind of kinds) {
      it(
        `is told so before a waiter at the server's end gets in, each of 20 times (${nameOf[kind]})`,
        { timeout: 120_000 },
        async () => {
          const { url, within, ...wire } = await cable();
          try {
            const name = (round: number, pair: number): string => `cut-${kind}-${round}-${pair}`;
            const each = <T>(act: (pair: number) => Promise<T>): Promise<T[]> =>
              Promise.all(Array.from({ length: pairs }, (_, pair) => act(pair)));
            const holders: JsonProcess[] = [];
            const waiters: JsonProcess[] = [];
            for (let round = 0; round < cuts; round += 1) {
              await each(async (pair) => {
                const which = name(round, pair);
                if (round === 0) holders.push(start(program('hold'), [stage.store(kind, url), which, String(leaseMs)], { within }));
                else holders[pair]!.write(`acquire ${which}`);
                await holders[pair]!.says('held', { name: which });
              });
              await each(async (pair) => {
                const which = name(round, pair);
                if (round === 0) waiters.push(start(program('hold'), [stage.store(kind), which, String(leaseMs)]));
                else waiters[pair]!.write(`acquire ${which}`);
                await waiters[pair]!.says('busy', { busy: which });
              });
              wire.cut();
              await each(async (pair) => {
                const which = { name: name(round, pair) };
                const got = await waiters[pair]!.says('held', which);
                const told = await holders[pair]!.says('lost', which);
                expect(Number(told['at']), which.name).toBeLessThan(Number(got['at']));
              });
              wire.mend();
            }
          } finally {
            await wire.remove();
          }
        },
      );
    }
  });
});
