/** A signal asks before it answers whether its lease is still to be trusted. Finding it lost aborts the signal. */
interface Trust {
  isTrusted(): unknown;
}

/** By signal. The signal keeps its lease alive, not the other way round. */
const trusts = new WeakMap<AbortSignal, Trust>();

function ask(signal: AbortSignal): AbortSignal {
  trusts.get(signal)?.isTrusted();
  return signal;
}

/** Node's own throwIfAborted() does not go through `aborted`. */
const asksTheClock = Object.create(AbortSignal.prototype, {
  aborted: {
    get(this: AbortSignal): boolean {
      return Reflect.get(AbortSignal.prototype, 'aborted', ask(this));
    },
  },
  reason: {
    get(this: AbortSignal): unknown {
      return Reflect.get(AbortSignal.prototype, 'reason', ask(this));
    },
  },
  throwIfAborted: {
    value(this: AbortSignal): void {
      if (this.aborted) throw this.reason;
    },
  },
}) as object;

/**
 * A controller whose signal reads the clock each time that it is read itself.
 *
 * After a pause, timers fire in the order of their due times, so code of a handler may run before the timer that would abort its
 * signal. A signal that `AbortSignal.any` made of this one has to wait for the timer, or for a question to this one. Node 20 and 22
 * ask when they make it; Node 24 reads its own fields, past the clock.
 */
export function createAskingController(trust: Trust): AbortController {
  const controller = new AbortController();
  Object.setPrototypeOf(controller.signal, asksTheClock);
  trusts.set(controller.signal, trust);
  return controller;
}
