/** What a signal asks before it answers: whether its lease is still to be trusted. Finding it lost aborts the signal. */
interface Trust {
  isTrusted(): unknown;
}

/** The signal keeps what it asks alive, not the other way round. */
const trusts = new WeakMap<AbortSignal, Trust>();

function look(signal: AbortSignal): AbortSignal {
  trusts.get(signal)?.isTrusted();
  return signal;
}

/** Node's own throwIfAborted() does not go through `aborted`. */
const asksTheClock = Object.create(AbortSignal.prototype, {
  aborted: {
    get(this: AbortSignal): boolean {
      return Reflect.get(AbortSignal.prototype, 'aborted', look(this));
    },
  },
  reason: {
    get(this: AbortSignal): unknown {
      return Reflect.get(AbortSignal.prototype, 'reason', look(this));
    },
  },
  throwIfAborted: {
    value(this: AbortSignal): void {
      if (this.aborted) throw this.reason;
    },
  },
}) as object;

/**
 * A controller whose signal asks the clock each time it is asked itself.
 *
 * After a pause, timers fire in the order of their due times, so code of a handler may run before the timer that would abort its
 * signal. A signal made of this one by `AbortSignal.any` has to wait for the timer.
 */
export function createAskingController(trust: Trust): AbortController {
  const controller = new AbortController();
  Object.setPrototypeOf(controller.signal, asksTheClock);
  trusts.set(controller.signal, trust);
  return controller;
}
