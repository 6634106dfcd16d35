import { describe, expect, it } from 'vitest';
import { createSolo, type Explanation, type Guarantees, type SoloOptions } from '../src/index.ts';
import { memory } from '../src/memory.ts';

const server: Guarantees = {
  clock: 'server',
  reach: 'fleet',
  expiry: true,
  unbounded: true,
  crash: 'at once',
  fence: 'durable',
  occurrences: true,
  wakeUp: 'queue',
  minLeaseMs: 1_000,
  caveats: ['A pooler would break it.'],
};

function explained(guarantees: Partial<Guarantees> = {}, options: Partial<SoloOptions> = {}): Explanation {
  const provider = { ...memory(), kind: 'postgres-advisory', guarantees: { ...server, ...guarantees } };
  return createSolo({ provider, ...options }).explain();
}

const held = ({ guarantees }: Explanation): Record<string, string> =>
  Object.fromEntries(guarantees.map(({ id, holds }) => [id, holds]));

describe('an explanation', () => {
  it('says yes eight times where everything holds', () => {
    expect(held(explained())).toEqual({ G1: 'yes', G2: 'yes', G3: 'yes', G4: 'yes', G5: 'yes', G6: 'yes', G7: 'yes', G8: 'yes' });
  });

  it.each<[Partial<Guarantees>, Record<string, string>]>([
    [{ reach: 'process' }, { G1: 'partly', G4: 'partly' }],
    [{ reach: 'host' }, { G1: 'partly', G4: 'partly' }],
    [{ occurrences: false }, { G4: 'no' }],
    [{ fence: 'until server crash' }, { G3: 'partly' }],
    [{ fence: 'process' }, { G3: 'partly' }],
  ])('does not promise what the provider does not: %o', (guarantees, less) => {
    expect(held(explained(guarantees))).toEqual({ ...held(explained()), ...less });
  });

  it('does not promise to end a lease without end', () => {
    const explanation = explained({}, { leaseMs: null });
    expect(held(explanation)).toMatchObject({ G2: 'partly', G5: 'yes' });
    expect(explanation.failoverMs).toEqual({ killed: 1_000, pausedOrCutOff: Number.POSITIVE_INFINITY });
    expect(held(explained({ crash: 'by expiry' }, { leaseMs: null }))).toMatchObject({ G2: 'partly', G5: 'partly' });
  });

  it('does not promise that a paused holder is followed where only the holder ends its lease', () => {
    const explanation = explained({ expiry: 'while running' });
    expect(held(explanation)).toMatchObject({ G1: 'yes', G2: 'yes', G5: 'partly' });
    expect(explanation.failoverMs).toEqual({ killed: 1_000, pausedOrCutOff: Number.POSITIVE_INFINITY });
    expect(String(explanation)).toContain('a paused one keeps the name');
  });

  it.each<[Guarantees['crash'], number]>([
    ['at once', 1_000],
    ['same host at once', 31_000],
    ['by expiry', 31_000],
  ])('knows the worst failover of a holder that is killed, if that is noticed %s', (crash, killed) => {
    expect(explained({ crash }).failoverMs).toEqual({ killed, pausedOrCutOff: 31_000 });
  });

  it('is for the lease of a single run as well', () => {
    const solo = createSolo({ provider: memory(), leaseMs: 60_000 });
    expect(solo.explain().leaseMs).toBe(60_000);
    expect(solo.explain({ leaseMs: 5_000 })).toMatchObject({ leaseMs: 5_000, failoverMs: { pausedOrCutOff: 6_000 } });
    expect(solo.explain({ leaseMs: null }).leaseMs).toBeNull();
  });

  it('can be read', () => {
    const page = String(explained({}, { leaseMs: 45_000 }));
    expect(page).toMatch(/^Fine for a fleet\. All machines that use this store are kept apart\.\npostgres-advisory, lease 45 s\n/u);
    for (const id of ['G1', 'G2', 'G3', 'G4', 'G5', 'G6', 'G7', 'G8']) expect(page).toContain(`\n  ${id} `);
    expect(page).toContain("the server's clock");
    expect(page).toContain('\n  Mind: A pooler would break it.');
    expect(page).not.toContain('undefined');
  });

  it.each<[Guarantees['reach'], RegExp]>([
    ['process', /^Fine for tests\. Two processes are not kept apart\.\n/u],
    ['host', /^Fine for one machine\. /u],
    ['fleet', /^Fine for a fleet\. /u],
  ])('says first what it is fine for (%s), and the table last', (reach, says) => {
    const explanation = explained({ reach });
    expect(explanation.summary).toMatch(says);
    expect(explanation.summary).toContain('\n  Mind: A pooler would break it.');
    expect(explanation.summary).not.toContain('G1');
    expect(String(explanation).startsWith(`${explanation.summary}\n  G1 `)).toBe(true);
  });

  it('can be read where a person has to help', () => {
    const page = String(explained({ crash: 'by expiry', wakeUp: 'poll' }, { leaseMs: null }));
    expect(page).toMatch(/\npostgres-advisory, lease without end\n/u);
    expect(page).toContain('killed until somebody helps, paused or cut off until somebody helps');
    expect(page).toContain('by polling with jitter');
  });
});
