/** Keeps asynchronous jobs in order: one at a time, first come first served. */
export class Mutex {
  readonly #onIdle: (() => void) | undefined;
  #isBusy = false;
  #waiting: (() => void)[] | undefined;

  /** @param onIdle called whenever a job has ended and none waits */
  constructor(onIdle?: () => void) {
    this.#onIdle = onIdle;
  }

  /** A job runs or waits. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Calls the job at once if nothing runs, and otherwise after the jobs before it, however those end. */
  run<T>(job: () => Promise<T>): Promise<T> {
    if (!this.#isBusy) return this.#start(job);
    return new Promise<void>((go) => {
      (this.#waiting ??= []).push(go);
    }).then(() => this.#start(job));
  }

  #start<T>(job: () => Promise<T>): Promise<T> {
    // Before the job is called, as the job may ask for the next turn itself.
    this.#isBusy = true;
    try {
      const running = job();
      running.then(this.#next, this.#next);
      return running;
    } catch (error) {
      this.#next();
      throw error;
    }
  }

  readonly #next = (): void => {
    const go = this.#waiting?.shift();
    if (go !== undefined) return go();
    this.#isBusy = false;
    this.#onIdle?.();
  };
}

/** A mutex per key. */
export class KeyedMutex<K> {
  readonly #mutexes = new Map<K, Mutex>();

  run<T>(key: K, job: () => Promise<T>): Promise<T> {
    let mutex = this.#mutexes.get(key);
    if (mutex === undefined) {
      mutex = new Mutex(() => this.#mutexes.delete(key));
      this.#mutexes.set(key, mutex);
    }
    return mutex.run(job);
  }
}
