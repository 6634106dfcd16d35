// @ts-check
// A clock process that was scaled up by accident. Its leader is killed, the next one frozen.

import { atLeast, exactly } from './verdict.js';

const program = new URL('../clock.js', import.meta.url);

/** @param {import('./stage.js').Stage} stage */
export async function play({ ask, start, tell, until }) {
  // Nothing here refuses a duplicate: they are counted.
  await ask('CREATE TABLE tick (id bigserial PRIMARY KEY, at timestamptz NOT NULL, fence bigint NOT NULL)');
  await ask('CREATE INDEX ON tick (fence)');
  const ticks = () => ask('SELECT at, fence FROM tick ORDER BY id');
  /** @param {number} more */
  const goWell = async (more) => {
    const enough = (await ticks()).length + more;
    await until(`${enough} ticks are enqueued`, async () => (await ticks()).length >= enough);
  };
  /** The one who leads under the greatest fence. @param {readonly import('./stage.js').Actor[]} clocks */
  const leaderOf = (clocks) => {
    const terms = clocks.flatMap((clock) => fences(clock).map((fence) => ({ clock, fence })));
    return terms.reduce((one, other) => (other.fence > one.fence ? other : one)).clock;
  };

  let clocks = [start('clock-1', program)];
  await clocks[0]?.says(/^leading/);
  await goWell(2);

  tell('Scaled up by accident: two more start.');
  clocks = [...clocks, start('clock-2', program), start('clock-3', program)];
  await Promise.all(clocks.map((clock) => clock.says(/^a candidate/)));
  await goWell(3);
  const leadersAtOnce = clocks.filter((clock) => fences(clock).length > 0).length;

  const killed = leaderOf(clocks);
  tell(`✗ ${killed.name}, the leader, is killed (SIGKILL).`);
  await killed.kill();
  clocks = clocks.filter((clock) => clock !== killed);
  await goWell(3);

  const frozen = leaderOf(clocks);
  tell(`❄ ${frozen.name}, the leader now, is frozen (SIGSTOP) for longer than its lease of 5 s.`);
  frozen.freeze();
  const heir = clocks.find((clock) => clock !== frozen);
  await heir?.says(/^leading/);
  await goWell(2);
  tell(`${frozen.name} wakes up (SIGCONT).`);
  frozen.wake();
  await frozen.says(/^not the leader any more/);
  await goWell(2);
  await Promise.all(clocks.map((clock) => clock.stop()));

  const rows = (await ticks()).map(({ at, fence }) => ({ at: Number(at), fence: BigInt(String(fence)) }));
  const times = [...new Set(rows.map(({ at }) => at))].sort((a, b) => a - b);
  const [first = 0, last = 0] = [times[0], times.at(-1)];
  return [
    atLeast('ticks enqueued', rows.length, 12),
    exactly('of them a second time', rows.length - times.length, 0),
    exactly('seconds without a tick', (last - first) / 1000 + 1 - times.length, 0),
    exactly('leaders at once', leadersAtOnce, 1),
    exactly('leaders that ticked, one after the other', new Set(rows.map(({ fence }) => fence)).size, 3),
    exactly(
      'ticks of a leader from the past',
      rows.filter(({ fence }, n) => n > 0 && fence < (rows[n - 1]?.fence ?? 0n)).length,
      0,
    ),
  ];
}

/** Under which fences it has led. @param {import('./stage.js').Actor} clock */
function fences({ lines }) {
  return lines.flatMap((line) => {
    const fence = /^leading under fence (\d+)/.exec(line)?.[1];
    return fence === undefined ? [] : [BigInt(fence)];
  });
}
