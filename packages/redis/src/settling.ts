/*
 * For how long a server has surely been in charge.
 *
 * A server that has just been started, or has just taken over from one that it followed, may have forgotten leases that are still
 * trusted. It must grant nothing until they are over. How long ago that was, no wall clock tells. Redis counts its uptime by the wall
 * clock, too (`uptime_in_seconds`): a clock that is set right after the start would skip the waiting, and one that is set back would
 * prolong it. So only time counts that was observed by a monotonic clock:
 *
 * - By this process: since the server named its term, on one connection.
 * - By other clients: a key keeps for how long they have observed this server in charge, and each client goes on from there. The key
 *   counts only for the term that it was written in: a restart changes `run_id`, and a fail-over `master_replid`.
 * - By earlier processes of this machine: the key also keeps where the machine's monotonic clock stood. So a program that runs for a
 *   moment each minute need not wait each time.
 * - By the server: a main thread that has computed for 30 s was started at least 30 s ago. An idle Redis computes for two thousandths of
 *   the time (measured on 7.0), so one that has been up for some hours grants at once to the first client it ever sees. This does not
 *   count where the thread may have computed while it followed another server.
 *
 * Each of them errs only to the safe side. A client that waits is granted locks within one lease.
 *
 * A client that does not wait for so long hands on what it has observed when it is closed, so those that live for seconds add up. But
 * settling does not end by itself: programs that are there for some milliseconds each, never twice on one machine, are refused until
 * some client waits, or the server has computed for long enough. No clock of the server would help them. All that it shows or counts
 * time-outs by is its wall clock, and nothing else that it counts goes on at a known rate.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import type { Server } from './server.ts';

export interface Settling {
  /** Leases up to this length may be granted, and other clients have been told so; in ms. */
  readonly provedMs: number;
  /** How long until leases of this length that the server may have forgotten are over, in ms. */
  leftMs(leaseMs: number): number;
  /** Tells other clients what has been proved by now. Resolves also when that has failed: they observe for themselves what they were not told. */
  prove(): Promise<void>;
}

/** Every lease may be granted. */
export const settled: Settling = { provedMs: Number.POSITIVE_INFINITY, leftMs: () => 0, prove: async () => {} };

/** The arguments of the script `observed`: the term, observed by us, computed by the server, machine, its clock; in ms. */
export type Observation = readonly [string, number, number, string, number];

/**
 * Begins to observe a server, whose term has been asked for before this call.
 *
 * @param note hands an observation to the other clients, and answers what all of them know, in ms
 */
export async function observe(server: Server, note: (observation: Observation) => Promise<number>): Promise<Settling> {
  const { term, computedMs } = server;
  let since = performance.now();
  let provedMs = 0;
  /** Undefined: it cannot be told from its successors, so nobody can hand on for how long it has been there. */
  const noteFor =
    term === undefined
      ? undefined
      : (observedMs: number): Promise<number> => note([term, observedMs, computedMs, machine(), machineMs()]);
  if (noteFor !== undefined) {
    provedMs = await noteFor(0);
    // It was true when the server was asked, and all the more when it had answered.
    since = performance.now() - provedMs;
  }

  const observedMs = (): number => performance.now() - since;
  return {
    get provedMs() {
      return provedMs;
    },
    leftMs: (leaseMs) => Math.max(0, leaseMs - observedMs()),
    async prove() {
      provedMs = observedMs();
      // A connection that fails is reported by what is asked next.
      await noteFor?.(provedMs).catch(() => {});
    },
  };
}

let known: string | undefined;

/** Names what processes share a monotonic clock with this one: a boot of a machine, and a time namespace. Empty where it cannot be told. */
function machine(): string {
  known ??= readMachine();
  return known;
}

function readMachine(): string {
  const boot = readOrUndefined(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
  const namespace = timeNamespace();
  if (boot === undefined || namespace === undefined) return '';
  return `machine ${createHash('sha256').update(`${boot} ${namespace}`).digest('hex').slice(0, 16)}`;
}

/**
 * Names our time namespace; empty on kernels before 5.6, which have none. The inode is not enough: once a namespace is gone, the kernel
 * gives its number to another one. So the offsets of its clocks count, too. The kernel shows those of the namespace that our children
 * will be in, which is another one only in a process that has just made it. Undefined: it cannot be told.
 */
function timeNamespace(): string | undefined {
  const own = readOrUndefined(() => readlinkSync('/proc/self/ns/time'));
  if (own === undefined) return '';
  if (readOrUndefined(() => readlinkSync('/proc/self/ns/time_for_children')) !== own) return undefined;
  const offsets = readOrUndefined(() => readFileSync('/proc/self/timens_offsets', 'utf8'));
  return offsets === undefined ? undefined : `${own} ${offsets.trim().split(/\s+/).join(' ')}`;
}

function readOrUndefined(read: () => string): string | undefined {
  try {
    return read();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Not Linux, or a sandbox that hides it. */
function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/** The machine's monotonic clock (CLOCK_MONOTONIC on Linux), which processes share, unlike `performance.now()`. */
function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
