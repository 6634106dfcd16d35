import { networkNamespace, networkNamespaceMissing } from '@solorun/servers/network';
import { describe, expect, it, onTestFinished } from 'vitest';
import { start } from './json-process.ts';
import { hasPostgres, onPostgres } from './postgres.ts';
import { program } from './stories.ts';

const why = hasPostgres ? networkNamespaceMissing() : undefined;
if (why !== undefined) process.stderr.write(`SKIPPED: machines that are reset. ${why}\n`);

const leaseMs = 1_200;
const rounds = 20;
const names = 4;
/** Each round warns that the server grants nothing yet. */
const quiet = { NODE_NO_WARNINGS: '1' };

describe.runIf(hasPostgres && why === undefined)('holders of session locks whose server is reset', () => {
  // A namespace reaches the server by the address of its cable.
  const stage = onPostgres({ listen_addresses: '*' });

  it(
    `have been told when a waiter gets in, each of ${rounds} times, with their own cable cut as well and without`,
    { timeout: 180_000 },
    async () => {
      const sides = ['reachable', 'cut-off'].map((side) => {
        const network = networkNamespace();
        onTestFinished(() => network.remove());
        return { side, network, url: stage.server.urlFor({ host: network.hostAddress }) };
      });
      const named = (side: string, round: number): string[] => Array.from({ length: names }, (_, n) => `${side}-${round}-${n}`);
      const hold = program('hold');
      const holders = sides.map(({ side, network, url }) =>
        start(hold, [stage.store('advisory', url), `${side}-first`, String(leaseMs)], { within: network.command, env: quiet }),
      );
      const waiters = sides.map(({ side }) =>
        start(hold, [stage.store('advisory'), `${side}-waiter`, String(leaseMs)], { env: quiet }),
      );
      for (let round = 0; round < rounds; round += 1) {
        const all = sides.flatMap(({ side }, which) => named(side, round).map((name) => ({ name, which })));
        for (const { name, which } of all) holders[which]!.write(`acquire ${name}`);
        await Promise.all(all.map(({ name, which }) => holders[which]!.says('held', { name: name })));
        for (const { name, which } of all) waiters[which]!.write(`acquire ${name}`);
        await Promise.all(all.map(({ name, which }) => waiters[which]!.says('busy', { busy: name })));

        const [reachable, cutOff] = sides.map(({ network }) => network);
        cutOff!.cut();
        await reachable!.reset(() => stage.server.kill());
        await stage.server.start();
        await Promise.all(
          all.map(async ({ name, which }) => {
            const got = await waiters[which]!.says('held', { name });
            const lost = await holders[which]!.says('lost', { name });
            expect(Number(lost['at']), name).toBeLessThan(Number(got['at']));
          }),
        );
        for (const { network } of sides) network.mend();
      }
    },
  );
});
