// What every store has to show, told by processes.

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { start, type JsonProcess, type Said } from './json-process.ts';
import { now } from './programs/say.js';

export const program = (name: string): URL => new URL(`./programs/${name}.js`, import.meta.url);

/** A holder is stopped past its lease, followed by a standby, and continued. */
export async function expectStoppedHolderToBeToldFirst(store: string): Promise<void> {
  const leaseMs = 1_000;
  const args = [store, String(leaseMs), new Date(Date.now() - 1_000).toISOString()];
  const holder = start(program('work'), [...args, '100000']);
  await holder.says('step');
  const standby = start(program('work'), [...args, '3']);
  await standby.says('waiting');
  holder.kill('SIGSTOP');
  const stopped = now();
  const successor = await standby.says('started');
  expect(successor).toMatchObject({ attempt: 2, recovering: true });
  expect(Number(successor['at']) - stopped).toBeLessThan(leaseMs + 1_000);
  expect(await standby.ended).toBe(0);

  holder.kill('SIGCONT');
  expect(await holder.ended).toBe(0);
  // Whether it asks its signal or lets the checkpoint throw: no step more.
  const afterwards = holder.said.filter(({ at }) => Number(at) > Number(successor['at']));
  expect(afterwards.filter((line) => 'step' in line)).toEqual([]);
  // By its own clock, or because its session was ended: whichever it hears of first.
  const reason = expect.stringMatching(/^(?:expired|session)$/) as string;
  expect(afterwards).toContainEqual(expect.objectContaining({ aborted: reason }));
  expect(afterwards).toContainEqual(expect.objectContaining({ asked: 'aborted' }));
  expect(afterwards.at(-1)).toMatchObject({ status: 'lost', reason });
}

const faketime = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';
/** False where it is missing, which has been said then; CI must have it. */
export const hasFaketime = existsSync(faketime) || process.env['CI'] === 'true';
if (!existsSync(faketime)) process.stderr.write('SKIPPED: replicas whose clocks are apart. Remedy: apt-get install faketime\n');

/** Replicas tick for a while whose clocks are two minutes apart; two of them are right. */
export async function expectSkewedReplicasToRunEachTickOnce(store: string, ticks: number, jobMs: number): Promise<void> {
  const replicas = [-120, 0, 0, 120].map((skew) =>
    start(program('tick'), [store, '0', 'standby', String(jobMs)], {
      env: {
        LD_PRELOAD: faketime,
        FAKETIME: `${skew < 0 ? '' : '+'}${skew}s`,
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      },
    }),
  );
  await Promise.all(replicas.map((replica) => replica.says('ready')));
  await sleep(ticks * 1_000 + 2_500);
  for (const replica of replicas) replica.kill('SIGTERM');
  for (const replica of replicas) expect(await replica.ended).toBe(0);

  const ran = (which: readonly JsonProcess[]): Said[] => which.flatMap(({ said }) => said.filter((line) => 'ran' in line));
  const runs = ran(replicas);
  // In the order of their fences: none twice, and none that was over, which is what the late one asks for.
  runs.sort((a, b) => Number(BigInt(String(a['fence'])) - BigInt(String(b['fence']))));
  const slots = runs.map((run) => String(run['ran']));
  expect(slots).toEqual([...new Set(slots)].sort());
  // Those whose clocks are right run all of their ticks, if need be after one of the late replica's, whose ticks are over then.
  // (With onBusy: 'skip' the late one may win each second, and then every tick runs once, two minutes late.)
  const right = ran(replicas.slice(1, 3))
    .map((run) => Date.parse(String(run['ran'])))
    .sort((a, b) => a - b);
  expect(right.length).toBeGreaterThanOrEqual(ticks);
  expect(right.at(-1)! - right[0]!).toBe((right.length - 1) * 1_000);
  for (const run of runs) {
    expect(Date.parse(String(run['acquiredAt']))).toBeGreaterThanOrEqual(Date.parse(String(run['ran'])));
  }
}
