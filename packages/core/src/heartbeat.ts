import { createAlarm } from './alarm.ts';
import type { Calls } from './calls.ts';
import type { Clock } from './clock.ts';
import type { HeldLease } from './held-lease.ts';
import type { LockProvider } from './provider.ts';

export interface Heartbeat {
  /** Keeps a lease renewed until it ends. */
  add(lease: HeldLease): void;
  /** Renews it now, whatever else is under way, and tells the lease how that went. Rejects with what the provider rejected with. */
  confirm(lease: HeldLease): Promise<void>;
  remove(lease: HeldLease): void;
}

interface Pulse {
  renewAt: number;
  renewing: boolean;
}

/** Three chances to renew before the lease runs out: the field's usual third. */
const RENEWALS_PER_LEASE = 3;
/** Where trust ends long before the lease does (a wide margin), a renewal that fails still leaves time for another one. */
const SHARE_OF_TRUST = 0.4;
/** A lease without end need not be renewed, but its holder wants to know if it was taken (an operator, a new primary), in ms. */
const LOOK_AFTER_ENDLESS_MS = 10_000;

/**
 * Renews every lease of one solo from one timer, and ends those whose time is over.
 *
 * Leases that fall due close together are renewed in the same turn of the event loop, so that a provider which batches what is
 * asked in one turn sends a single statement for all of them.
 *
 * A renewal has three answers. *Renewed* extends the trust, counted from before the request. *Lost* ends the lease. *Unknown*
 * (an error, a time-out) changes nothing but the time of the next try: the clock decides.
 *
 * One function, although of 62 lines: the pulses, the timer and the two ways to ask are one idea, and are read together.
 */
export function createHeartbeat(
  provider: LockProvider,
  calls: Calls,
  clock: Clock,
  onUnconfirmed: (lease: HeldLease, error: unknown) => void,
): Heartbeat {
  const pulses = new Map<HeldLease, Pulse>();
  // Holding a lease does not keep a process alive; what its handler does, does.
  const alarm = createAlarm(clock, beat);

  function beat(): void {
    // Losses first: after a stall the holders must be told before anything else is attempted.
    for (const lease of pulses.keys()) lease.isTrusted();
    const now = clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const [lease, pulse] of pulses) {
      if (!pulse.renewing && pulse.renewAt <= now + intervalOf(lease) / 4) void renew(lease, pulse);
      next = Math.min(next, lease.trustedUntil, pulse.renewing ? Number.POSITIVE_INFINITY : pulse.renewAt);
    }
    if (pulses.size > 0) alarm.at(next);
  }

  /** @param idle does not keep the process alive */
  async function ask(lease: HeldLease, timeoutMs: number, idle: boolean): Promise<void> {
    const sentAt = clock.now();
    const renewed = await calls.bounded((signal) => provider.renew(lease.grant, signal), {
      timeoutMs,
      idle,
      timeoutError: () => new Error(`no answer within ${Math.round(timeoutMs)} ms`),
    });
    if (renewed) lease.renewed(sentAt);
    else lease.lose('taken');
  }

  /** Turns every outcome into a state; never rejects. */
  async function renew(lease: HeldLease, pulse: Pulse): Promise<void> {
    pulse.renewing = true;
    const interval = intervalOf(lease);
    const dueAt = clock.now() + interval;
    try {
      await ask(lease, interval, true);
      pulse.renewAt = dueAt;
    } catch (error) {
      pulse.renewAt = clock.now() + interval / 4;
      if (!lease.ended) onUnconfirmed(lease, error);
    }
    pulse.renewing = false;
    if (pulses.has(lease)) alarm.at(Math.min(pulse.renewAt, lease.trustedUntil));
  }

  return {
    add(lease) {
      if (lease.ended) return;
      // From when the try was sent, as trust is: one that was answered late has less time left.
      const renewAt = lease.sentAt + intervalOf(lease);
      pulses.set(lease, { renewAt, renewing: false });
      alarm.at(Math.min(renewAt, lease.trustedUntil));
    },
    confirm: (lease) => ask(lease, intervalOf(lease), false),
    remove: (lease) => void pulses.delete(lease),
  };
}

function intervalOf(lease: HeldLease): number {
  if (lease.leaseMs === null) return LOOK_AFTER_ENDLESS_MS;
  return Math.min(lease.leaseMs / RENEWALS_PER_LEASE, lease.lastsMs * SHARE_OF_TRUST);
}
