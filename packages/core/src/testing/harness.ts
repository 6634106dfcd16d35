import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { delay } from '../abort.ts';
import type { AcquireRequest, AcquireResult, Grant, LockProvider, OccurrenceRequest, Refusal } from '../provider.ts';

export interface ContractOptions {
  /**
   * Opens the provider as one more replica would: all that are opened share one store. Called several times per case; each is
   * closed at its end.
   */
  readonly open: () => LockProvider | Promise<LockProvider>;
  /** The short lease of cases in which one runs out, in ms. Raise it for a slow store. @default 400, at least `minLeaseMs` */
  readonly leaseMs?: number;
  /** Lets this much time pass for the provider, in ms; for those with a clock of their own. @default waits */
  readonly pass?: (ms: number) => Promise<void>;
}

/** One promise of the contract, to be handed to any test runner: `it(case.name, case.run)`. */
export interface ContractCase {
  /** A sentence. */
  readonly name: string;
  /** Which guarantee of docs/guarantees.md it is about. */
  readonly guarantee: 'G1' | 'G2' | 'G3' | 'G4' | 'G5' | 'G6' | 'G7' | 'G8';
  readonly run: () => Promise<void>;
}

/** The tools of a case. */
export interface Fleet {
  readonly leaseMs: number;
  readonly open: () => Promise<LockProvider>;
  readonly pass: (ms: number) => Promise<void>;
}

type CaseBody = (fleet: Fleet) => Promise<void>;

/** A case that closes all that it opened, and reports its own failure rather than that of a close. */
function contractCase(options: ContractOptions, guarantee: ContractCase['guarantee'], name: string, body: CaseBody): ContractCase {
  return {
    name,
    guarantee,
    async run() {
      const opened: LockProvider[] = [];
      const open = async (): Promise<LockProvider> => {
        const provider = await options.open();
        opened.push(provider);
        return provider;
      };
      const leaseMs = Math.max(options.leaseMs ?? 400, (await open()).guarantees.minLeaseMs);
      try {
        await body({ leaseMs, open, pass: options.pass ?? delay });
      } finally {
        await Promise.allSettled(opened.map((provider) => provider.close()));
      }
    },
  };
}

/** Cases of one guarantee. */
export function casesOf(
  options: ContractOptions,
  guarantee: ContractCase['guarantee'],
): (name: string, body: CaseBody) => ContractCase {
  return (name, body) => contractCase(options, guarantee, name, body);
}

/**
 * Cases of two replicas of a provider that keeps occurrences. A provider must not pretend to keep what it does not keep: the first case
 * of `occurrenceCases`.
 */
export function keptCasesOf(
  options: ContractOptions,
  guarantee: ContractCase['guarantee'],
): (name: string, body: (a: LockProvider, b: LockProvider, fleet: Fleet) => Promise<void>) => ContractCase {
  return (name, body) =>
    contractCase(options, guarantee, name, async (fleet) => {
      const [a, b] = [await fleet.open(), await fleet.open()];
      if (a.guarantees.occurrences) await body(a, b, fleet);
    });
}

/** Far longer than a case takes. */
export const LONG_MS = 60_000;

export function newName(): string {
  return `contract ${randomUUID()}`;
}

export function request(name: string, more: Partial<AcquireRequest> = {}): AcquireRequest {
  return { name, owner: randomUUID(), leaseMs: LONG_MS, holder: { host: 'contract.test', pid: 4711, label: 'case' }, ...more };
}

export async function tryIt(provider: LockProvider, asked: AcquireRequest): Promise<AcquireResult> {
  return provider.tryAcquire(asked, new AbortController().signal);
}

export async function mustAcquire(provider: LockProvider, name: string, more: Partial<AcquireRequest> = {}): Promise<Grant> {
  const result = await tryIt(provider, request(name, more));
  assert(result.acquired, `a free name is acquired, and not refused as ${result.acquired ? '' : result.reason}`);
  return result.grant;
}

export async function mustRefuse<R extends Refusal['reason']>(
  provider: LockProvider,
  name: string,
  reason: R,
  more: Partial<AcquireRequest> = {},
): Promise<Refusal & { readonly reason: R }> {
  const result = await tryIt(provider, request(name, more));
  assert(!result.acquired, `the try is refused as "${reason}", not granted`);
  assert.equal(result.reason, reason);
  return result as Refusal & { readonly reason: R };
}

export async function renew(provider: LockProvider, grant: Grant): Promise<boolean> {
  return provider.renew(grant, new AbortController().signal);
}

export async function done(provider: LockProvider, grant: Grant): Promise<boolean> {
  return provider.release(grant, { result: 'done' }, new AbortController().signal);
}

export async function failed(provider: LockProvider, grant: Grant, error = 'it broke'): Promise<boolean> {
  return provider.release(grant, { result: 'failed', error }, new AbortController().signal);
}

/** Until others see in the record what happened. */
export async function recorded(fleet: Pick<Fleet, 'pass'>, provider: LockProvider): Promise<void> {
  const { recordLagMs = 0 } = provider.guarantees;
  if (recordLagMs > 0) await fleet.pass(recordLagMs);
}

/** Tries until the name is acquired, as a replica does that takes over an expired lease. */
export async function takeOver(
  fleet: Fleet,
  provider: LockProvider,
  name: string,
  more: Partial<AcquireRequest> = {},
): Promise<Grant> {
  for (let waitedMs = 0; waitedMs < fleet.leaseMs * 5 + 5_000; waitedMs += 10) {
    const result = await tryIt(provider, request(name, more));
    if (result.acquired) return result.grant;
    await fleet.pass(10);
  }
  return assert.fail('a lease that nobody renews comes free');
}

/** Fixed, so that a case which names an instant twice means the same one. */
const loadedAt = Math.floor(Date.now() / 1_000) * 1_000;

/** An instant of the recent past, apart from other cases' by minutes. */
export function instant(minutesAgo: number): Date {
  return new Date(loadedAt - minutesAgo * 60_000);
}

export function occurrence(at: Date, attempts = 1): { occurrence: OccurrenceRequest } {
  return { occurrence: { at, attempts } };
}

/** The value, or the error as a value. */
export async function settled<T>(promise: Promise<T>): Promise<T | Error> {
  try {
    return await promise;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Fails the case if this takes longer. */
export async function within<T>(ms: number, promise: Promise<T>, otherwise: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: otherwise })), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
