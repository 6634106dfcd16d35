/** Runs, elections and claims of one solo: `close()` waits for them. */
export class Activity {
  readonly #active = new Set<{ readonly name: string }>();
  #onIdle: (() => void) | undefined;

  async track<T>(name: string, begin: () => Promise<T>): Promise<T> {
    const entry = { name };
    this.#active.add(entry);
    try {
      return await begin();
    } finally {
      this.#active.delete(entry);
      if (this.#active.size === 0) this.#onIdle?.();
    }
  }

  get isIdle(): boolean {
    return this.#active.size === 0;
  }

  /** Resolves when all have ended. To be called again only when that has been awaited. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve;
      if (this.isIdle) resolve();
    });
  }

  /** Of those that have not ended. */
  names(): string[] {
    return [...this.#active].map(({ name }) => name);
  }
}
