import { hrtime } from 'node:process';
import { ProviderError, SolorunError, type Finding, type Lease, type LockProvider, type Solo } from '@solorun/core';
import { withStore, type Opened } from './asked-store.ts';
import { duration, parseDuration } from './duration.ts';
import { Ending, exits } from './exit.ts';
import { aboutReach, page, type Reach } from './doctor-page.ts';
import { print, type Voice } from './output.ts';
import type { Asked } from './program.ts';
import { PROBE } from './probe.ts';
import { holderOf, plain } from './show.ts';
import { inOurWords } from './trouble.ts';

/** How long another doctor may take, beyond the lease of a holder that died, in ms. */
const PROBE_WAIT_MS = 10_000;
const ROUNDS = 5;
/** Clocks that differ by less than this do no harm, in ms. */
const SKEW_WORTH_TELLING_MS = 1_000;

/** `solorun doctor`: tries a store from end to end. */
export async function doctor(asked: Asked, voice: Voice): Promise<number> {
  const leaseMs = parseDuration(String(asked.options['lease']), '--lease');
  const findings: Finding[] = [];
  const warnings: string[] = [];
  let explanation = '';
  let shown = '';
  let reach: Reach = 'process';
  try {
    await withStore(asked, { leaseMs, onWarning: (message) => warnings.push(message) }, async (opened) => {
      shown = opened.store.shown;
      reach = opened.provider.guarantees.reach;
      findings.push(client(), ...(await examined(opened.provider)));
      if (findings.some(({ state }) => state === 'unreachable')) return;
      findings.push(...(await tryLock(opened, leaseMs)));
      // After the lock was tried: the provider knows only then what holds here.
      explanation = String(opened.solo.explain());
      findings.push(...promises(opened), ...warnings.map((says) => ({ check: 'warning', state: 'note', says }) as const));
    });
  } catch (error) {
    if (!(error instanceof SolorunError) && !(error instanceof Ending)) throw error;
    if (error instanceof Ending && error.exit === 'usage') throw error;
    // A directory that cannot be made, or a package that is not installed, for example.
    const unasked = error instanceof ProviderError || error instanceof Ending;
    findings.push({ check: 'lock', state: unasked ? 'unreachable' : 'unsafe', says: inOurWords(error.message) });
  }
  const verdict = verdictOf(findings);
  if (asked.options['json'] === true) print(JSON.stringify({ store: shown, safe: verdict.safe, findings, explanation }, null, 2));
  else print(page({ store: shown, reach, findings, explanation: asked.options['verbose'] === true ? explanation : '' }));
  if (verdict.says !== undefined) voice.error(verdict.says);
  return verdict.status;
}

interface Verdict {
  /** `null`: it is not known, because the store did not answer. */
  readonly safe: boolean | null;
  readonly status: number;
  readonly says?: string;
}

/** A store that was found unsafe remains unsafe, whatever failed afterwards. */
function verdictOf(findings: readonly Finding[]): Verdict {
  const has = (wanted: Finding['state']): boolean => findings.some(({ state }) => state === wanted);
  if (has('unsafe')) return { safe: false, status: exits.unsafe.status, says: 'this store is not safe to use as it is' };
  if (has('unreachable'))
    return { safe: null, status: exits.store.status, says: 'this store could not be asked: whether it is safe is not known' };
  return { safe: true, status: 0 };
}

function client(): Finding {
  return { check: 'client', state: 'ok', says: `Node.js ${process.versions.node} on ${process.platform}` };
}

/** The provider's own checks of its server or directory, before anything is locked there. */
async function examined(provider: LockProvider): Promise<readonly Finding[]> {
  const findings = (await provider.examine?.()) ?? [];
  return findings.map(({ check, state, says }) => ({ check: plain(check), state, says: inOurWords(says) }));
}

/** Acquires a real lock, renews it, reads its record and releases it, and measures how long that takes. */
async function tryLock({ solo, provider }: Opened, leaseMs: number): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const fences: bigint[] = [];
  const times: { took: number; gave: number }[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const asked = performance.now();
    const lease = await solo.acquire(PROBE, { waitMs: leaseMs + PROBE_WAIT_MS, onOutage: 'fail' });
    const got = performance.now();
    fences.push(lease.fence);
    if (round === 0) findings.push(await renewed(provider, lease), ...(await recorded(solo, lease)));
    const giving = performance.now();
    const ours = await lease.release();
    // The first round connects.
    if (round > 0) times.push({ took: got - asked, gave: performance.now() - giving });
    if (!ours) findings.push({ check: 'release', state: 'unsafe', says: 'the lock could not be given back as ours' });
  }
  const grow = fences.every((fence, index) => index === 0 || fence > fences[index - 1]!);
  const latency = `taken in ${median(times.map(({ took }) => took))}, given back in ${median(times.map(({ gave }) => gave))}`;
  findings.push(
    { check: 'lock', state: 'ok', says: latency },
    grow
      ? { check: 'fence', state: 'ok', says: `grew from ${fences[0]} to ${fences.at(-1)}` }
      : { check: 'fence', state: 'unsafe', says: `did not grow: ${fences.join(', ')}` },
  );
  return findings;
}

async function renewed(provider: LockProvider, { grant }: Lease): Promise<Finding> {
  const ours = await provider.renew(grant, AbortSignal.timeout(5_000));
  return ours
    ? { check: 'renewal', state: 'ok', says: 'confirmed' }
    : { check: 'renewal', state: 'unsafe', says: 'the store says that the lock which it has just granted is not ours' };
}

/** The record. Its times are the store's, so the store's clock can be compared with ours. */
async function recorded(solo: Solo, lease: Lease): Promise<readonly Finding[]> {
  const before = Date.now();
  const start = hrtime.bigint();
  const record = await solo.inspect(lease.name);
  const tripMs = Number(hrtime.bigint() - start) / 1e6;
  if (record === undefined) return [{ check: 'record', state: 'note', says: 'none is kept yet' }];
  const skewMs = Math.round(before + tripMs / 2 - record.readAt.getTime());
  const which = skewMs > 0 ? 'ahead of' : 'behind';
  const clocks = `this machine is ${duration(Math.abs(skewMs))} ${which} the store's clock (read within ${duration(tripMs)})`;
  return [
    { check: 'record', state: 'ok', says: `held by ${holderOf(record.holder)}` },
    Math.abs(skewMs) < SKEW_WORTH_TELLING_MS
      ? { check: 'clock', state: 'ok', says: clocks }
      : { check: 'clock', state: 'note', says: `${clocks}: --once-per reads this machine's. Synchronise it (NTP)` },
  ];
}

function promises({ solo, provider }: Opened): readonly Finding[] {
  const missing = solo.explain().guarantees.filter(({ holds }) => holds === 'no');
  return [
    aboutReach(provider.guarantees.reach),
    ...missing.map(({ id, title, how }) => ({ check: `${id} ${title}`, state: 'unsafe', says: how }) as const),
  ];
}

function median(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  const ms = sorted[Math.floor(sorted.length / 2)]!;
  return ms < 10 ? `${ms.toFixed(1)}ms` : duration(ms);
}
