import { describeMs } from './errors.ts';
import type { SoloSettings } from './settle.ts';
import type { Guarantees } from './provider.ts';

export interface GuaranteeInUse {
  /** `G1` to `G8`, as in docs/guarantees.md. */
  readonly id: string;
  readonly title: string;
  readonly holds: 'yes' | 'partly' | 'no';
  readonly how: string;
}

/** The guarantees of one provider with the options in use. `String(explanation)` is a page to read: the summary, then the table. */
export interface Explanation {
  /** Some lines to read: what the store is fine for, how fast others take over, and what would break the promises. */
  readonly summary: string;
  readonly provider: string;
  readonly leaseMs: number | null;
  /** The clock that ends a lease. */
  readonly clock: Guarantees['clock'];
  readonly guarantees: readonly GuaranteeInUse[];
  /** From the holder's death to the next holder, in ms, at worst; `Infinity`: a person has to help. */
  readonly failoverMs: { readonly killed: number; readonly pausedOrCutOff: number };
  readonly caveats: readonly string[];
  toString(): string;
}

const clockWords: Record<Guarantees['clock'], string> = {
  server: "the server's clock",
  store: "the file store's clock",
  process: "this process's clock",
};

const reachWords: Record<Guarantees['reach'], string> = {
  process: 'code in this process only',
  host: 'processes on this machine',
  fleet: 'every replica that uses the same store',
};

const fineFor: Record<Guarantees['reach'], string> = {
  process: 'Fine for tests. Two processes are not kept apart.',
  host: 'Fine for one machine. Processes of this machine are kept apart; several machines need a database.',
  fleet: 'Fine for a fleet. All machines that use this store are kept apart.',
};

const fenceWords: Record<Guarantees['fence'], string> = {
  durable: 'grows with every acquisition, across restarts',
  'until server crash': 'grows with every acquisition, but may go back when the server crashes',
  process: 'grows with every acquisition while this process lives',
};

const wakeWords: Record<Guarantees['wakeUp'], string> = {
  queue: "in the server's own queue, first come first served",
  push: 'until the provider says that the name is free',
  poll: 'by polling with jitter',
};

/** Waiters poll just after a lease ends, at most this much later, in ms. */
const POLL_AFTER_MS = 1_000;

export function explain(settings: SoloSettings, leaseMs: number | null): Explanation {
  const { guarantees, kind } = settings.provider;
  const explanation = {
    provider: kind,
    leaseMs,
    clock: guarantees.clock,
    guarantees: guaranteesInUse(guarantees, leaseMs),
    failoverMs: failover(guarantees, leaseMs),
    caveats: guarantees.caveats,
  };
  const summary = summaryOf(explanation, guarantees.reach);
  return { summary, ...explanation, toString: () => [summary, ...table(explanation.guarantees)].join('\n') };
}

/** How long a paused holder keeps the name, in ms. */
function keptMs(g: Guarantees, leaseMs: number | null): number {
  return leaseMs === null || g.expiry === 'while running' ? Number.POSITIVE_INFINITY : leaseMs;
}

function failover(g: Guarantees, leaseMs: number | null): Explanation['failoverMs'] {
  const byExpiry = keptMs(g, leaseMs) + POLL_AFTER_MS;
  const killed = {
    'at once': POLL_AFTER_MS,
    'same host at once': Math.max(POLL_AFTER_MS, byExpiry),
    'by expiry': byExpiry,
  }[g.crash];
  return { killed, pausedOrCutOff: byExpiry };
}

function guaranteesInUse(g: Guarantees, leaseMs: number | null): readonly GuaranteeInUse[] {
  const ofReach = g.reach === 'fleet' ? 'yes' : 'partly';
  return [
    {
      id: 'G1',
      title: 'Exclusion',
      holds: ofReach,
      how: `one trusted holder at a time among ${reachWords[g.reach]}; ${leaseWords(g, leaseMs)}`,
    },
    { id: 'G2', title: 'Loss is told before it is real', holds: leaseMs === null ? 'partly' : 'yes', how: lossWords(leaseMs) },
    { id: 'G3', title: 'Fence', holds: g.fence === 'durable' ? 'yes' : 'partly', how: fenceWords[g.fence] },
    {
      id: 'G4',
      title: 'Once per occurrence',
      holds: g.occurrences ? ofReach : 'no',
      how: g.occurrences
        ? 'a high-water mark per name, kept after success; never early by ' + clockWords[g.clock]
        : 'no occurrences are kept here: a late replica may run the same one again',
    },
    {
      id: 'G5',
      title: 'Failover',
      holds: g.expiry === 'while running' || (leaseMs === null && g.crash !== 'at once') ? 'partly' : 'yes',
      how: failoverWords(g, leaseMs),
    },
    {
      id: 'G6',
      title: "Never somebody else's",
      holds: 'yes',
      how: 'renew and release compare a nonce per acquisition where the record is kept',
    },
    { id: 'G7', title: 'Never early', holds: 'yes', how: 'a lease is released only after its handler has settled' },
    {
      id: 'G8',
      title: 'Fail closed',
      holds: 'yes',
      how: 'if the provider cannot be asked, the handler does not run and the caller is told why',
    },
  ];
}

function leaseWords(g: Guarantees, leaseMs: number | null): string {
  if (leaseMs === null) return 'held until it is released or the session or process ends; a paused holder keeps it';
  const lease = describeMs(leaseMs);
  if (keptMs(g, leaseMs) > leaseMs)
    return `${lease}, which the holder ends itself; a paused one keeps the name, and stops trusting it`;
  return `${lease} by ${clockWords[g.clock]}, renewed every third of it; clocks' settings do not matter, their rates do`;
}

function lossWords(leaseMs: number | null): string {
  return leaseMs === null
    ? 'lease.signal aborts when the session is seen to end; without a lease time nothing bounds when that is'
    : 'lease.signal aborts before another replica can acquire, counted from before each request';
}

function failoverWords(g: Guarantees, leaseMs: number | null): string {
  const ms = keptMs(g, leaseMs);
  const paused = Number.isFinite(ms) ? `within ${describeMs(ms)}` : 'never by itself';
  return `killed holder: ${crashWords(g, leaseMs)}; paused or cut off: ${paused}; waiters wait ${wakeWords[g.wakeUp]}`;
}

function crashWords(g: Guarantees, leaseMs: number | null): string {
  const expiry = leaseMs === null ? 'never by itself' : `within ${describeMs(leaseMs)}`;
  return { 'at once': 'at once', 'same host at once': `at once on the same machine, else ${expiry}`, 'by expiry': expiry }[g.crash];
}

function bound(ms: number): string {
  return Number.isFinite(ms) ? describeMs(ms) : 'until somebody helps';
}

type Facts = Omit<Explanation, 'summary' | 'toString'>;

function summaryOf({ provider, leaseMs, failoverMs, caveats }: Facts, reach: Guarantees['reach']): string {
  const { killed, pausedOrCutOff } = failoverMs;
  return [
    fineFor[reach],
    `${provider}, lease ${leaseMs === null ? 'without end' : describeMs(leaseMs)}`,
    `  Failover at worst: killed ${bound(killed)}, paused or cut off ${bound(pausedOrCutOff)}`,
    ...caveats.map((caveat) => `  Mind: ${caveat}`),
  ].join('\n');
}

function table(guarantees: readonly GuaranteeInUse[]): string[] {
  return guarantees.map(({ id, title, holds, how }) => `  ${id} ${title}: ${holds}. ${how}`);
}
