// @ts-check
// What a run does: small steps, each of which asks the lease first, and writes down what it said.

import { setTimeout as sleep } from 'node:timers/promises';
import { now } from './journal.js';

/** @import { RunContext } from '@solorun/core' */
/** @import { Entry } from './journal.js' */

/** The share of a lease that core takes off as its margin (docs/guarantees.md). */
const MARGIN = 1 / 20;

/**
 * How a handler learns whether its lease is still good: `checkpoint` reads the clock, `confirm` asks the provider, `signal` only listens.
 *
 * @typedef {'checkpoint' | 'confirm' | 'signal'} Asks
 */

/** @typedef {Pick<RunContext, 'fence' | 'signal' | 'checkpoint'> & Partial<Pick<RunContext, 'confirm' | 'attempt' | 'occurrence'>>} Context */

/**
 * @typedef {object} How
 * @property {number} jobMs
 * @property {number} stepMs
 * @property {number} leaseMs
 * @property {Asks} asks
 * @property {(fence: bigint, name: string) => number | undefined} sentAt
 * @property {() => void} begun Is done synchronously, first of all.
 */

/**
 * @param {How} how
 * @param {(entry: Entry) => void} note
 */
export function createHandler({ jobMs, stepMs, leaseMs, asks, sentAt, begun }, note) {
  /**
   * @param {string} id of the request and its run
   * @param {string} name
   * @param {Context} context
   * @param {() => Promise<void>} [act] Is done at the end, while the lease is held.
   */
  return async (id, name, { fence, signal, checkpoint, confirm, attempt, occurrence }, act) => {
    // In the step in which the handler is called.
    note({
      kind: 'begin',
      id,
      name,
      fence: String(fence),
      ...(occurrence === undefined ? {} : { at: occurrence.at.getTime(), attempt: occurrence.attempt }),
      ...(attempt === undefined ? {} : { attempt }),
      overMs: now() - (sentAt(fence, name) ?? now()) - leaseMs * (1 - MARGIN),
    });
    begun();
    let told = false;
    const listener = () => {
      told = true;
      // A solo that closes, too, asks a run to stop.
      if (signal.reason?.name === 'LeaseLostError') note({ kind: 'lost', id, name, result: signal.reason.reason });
    };
    // As a signal that is aborted calls no listener any more.
    if (signal.aborted) listener();
    else signal.addEventListener('abort', listener, { once: true });

    const ask = async () => {
      // A version without confirm() is attacked as well.
      if (asks === 'confirm' && confirm !== undefined) await confirm();
      else checkpoint();
    };
    const step = async () => {
      const t = now();
      if (asks === 'signal') {
        if (told) throw signal.reason;
        return note({ kind: 'step', t, id, name });
      }
      try {
        await ask();
      } catch (error) {
        note({ kind: 'step', id, name, trusted: false });
        throw error;
      }
      note({ kind: 'step', t, id, name, trusted: true });
    };
    try {
      for (let left = jobMs; left > 0; left -= stepMs) {
        await sleep(Math.min(stepMs, left));
        await step();
      }
      await act?.();
      note({ kind: 'end', id, name });
    } finally {
      signal.removeEventListener('abort', listener);
    }
  };
}
