import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, it } from 'vitest';
import { onEveryStore } from './every-store.ts';
import { start, type JsonProcess } from './json-process.ts';
import { program } from './stories.ts';

/** A monitor that keeps what it is told, or lets everybody wait. */
let monitor: Server;
const pings: URL[] = [];
beforeAll(async () => {
  monitor = createServer((request, response) => {
    const url = new URL(request.url!, 'http://monitor');
    pings.push(url);
    if (!url.pathname.startsWith('/hangs')) response.end();
  });
  await new Promise<void>((resolve) => monitor.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  monitor.closeAllConnections();
  monitor.close();
});

/** What the monitor was told of a job: the end of each path, in order. */
const toldOf = (job: string): string[] =>
  pings.map(({ pathname }) => pathname.split('/')).flatMap(([, name, end = 'success']) => (name === job ? [end] : []));

let jobs = 0;

onEveryStore(
  (store) => {
    function fleet(prefix: string): { job: string; replicas: JsonProcess[] } {
      const job = `${prefix}${(jobs += 1)}`;
      const url = `http://127.0.0.1:${(monitor.address() as AddressInfo).port}/${job}`;
      const at = String(Date.now() - 1_000);
      return { job, replicas: [0, 1, 2].map(() => start(program('pinged'), [store(), job, url, at])) };
    }

    it(
      'a monitor hears of one start and one end of an occurrence, and of those of the run that recovers it',
      { timeout: 120_000 },
      async ({ expect }) => {
        const { job, replicas } = fleet('job');
        const first = await Promise.any(replicas.map((replica) => replica.says('running').then(() => replica)));
        await expect.poll(() => toldOf(job)).toEqual(['start']);
        await first.killed();
        const rest = replicas.filter((replica) => replica !== first);
        const second = await Promise.any(rest.map((replica) => replica.says('running').then(() => replica)));
        await expect.poll(() => toldOf(job)).toEqual(['start', 'start']);
        second.write('go on');
        for (const replica of rest) await replica.ended;
        expect(new Set(rest.map(({ said }) => said.at(-1)?.['status']))).toEqual(new Set(['ran', 'skipped']));
        expect(toldOf(job)).toEqual(['start', 'start', 'success']);
        const [, recovered, success] = pings.filter(({ pathname }) => pathname.startsWith(`/${job}`));
        expect(success!.searchParams.get('rid')).toBe(recovered!.searchParams.get('rid'));
      },
    );

    it('a monitor that does not answer delays no run', { timeout: 120_000 }, async ({ expect }) => {
      const { replicas } = fleet('hangs');
      const runner = await Promise.any(replicas.map((replica) => replica.says('running').then(() => replica)));
      runner.write('go on');
      // The others, too, are told at once: they hear of the run's end from the store.
      for (const replica of replicas) await replica.says('status');
      let isWaiting = true;
      void runner.ended.then(() => (isWaiting = false));
      await setImmediate();
      expect(isWaiting, 'the monitor is still waited for').toBe(true);
    });
  },
  { concurrent: true },
);
