const FIRST_PAUSE_MS = 50;
const TRIES = 8;
/** A statement whose connection was cut may still be running; after this long it has surely ended, in ms. */
const STRAGGLER_MS = 2_000;

const nothing = (): void => {};

/** The tries of a name that are in doubt, oldest first. */
interface Doubt<L> {
  readonly tries: { readonly owner: string; readonly lost: L | undefined }[];
  /** Ends the pause before the next attempt. */
  hurry: () => void;
  /** Callers that learn how the next attempt ends. */
  askers: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[];
  over: Promise<void>;
}

/**
 * Takes back, in the background, what a try may have acquired whose answer never came. Its nonce is known, so no other holder is touched.
 *
 * @typeParam L what a try is sent on
 */
export class Undo<L> {
  readonly #release: (name: string, owner: string, lost: L | undefined) => Promise<boolean>;
  readonly #doubts = new Map<string, Doubt<L>>();
  /** Ends each of the pauses. */
  readonly #pauses = new Set<() => void>();
  #isClosed = false;

  /** @param release tells whether there was something to release; names that are asked for in one turn may share a statement */
  constructor(release: (name: string, owner: string, lost: L | undefined) => Promise<boolean>) {
    this.#release = release;
  }

  /** @param lost what the try was sent on, if that has ended */
  add(name: string, owner: string, lost?: L): void {
    const before = this.#doubts.get(name);
    if (before !== undefined) return void before.tries.push({ owner, lost });
    const doubt: Doubt<L> = { tries: [{ owner, lost }], hurry: nothing, askers: [], over: Promise.resolve() };
    this.#doubts.set(name, doubt);
    doubt.over = this.#settle(name, doubt);
  }

  /**
   * Resolves when what is known to be in doubt about the name has been taken back, or cannot be. It is tried at once, whatever pause
   * there was to be: rejects if what is tried from now on fails, and the doubt stays.
   */
  settled(name: string): Promise<void> | undefined {
    const doubt = this.#doubts.get(name);
    if (doubt === undefined) return undefined;
    return new Promise((resolve, reject) => {
      doubt.askers.push({ resolve, reject });
      doubt.hurry();
    });
  }

  /** Gives what is under way until then, and stops. */
  async close(limit: Promise<unknown>): Promise<void> {
    await Promise.race([Promise.all([...this.#doubts.values()].map(({ over }) => over)), limit]);
    this.#isClosed = true;
    for (const end of this.#pauses) end();
  }

  async #settle(name: string, doubt: Doubt<L>): Promise<void> {
    let failure: unknown;
    for (let failures = 0; doubt.tries.length > 0;) {
      const { owner, lost } = doubt.tries[0]!;
      const told = doubt.askers.length;
      try {
        const found = await this.#release(name, owner, lost);
        if (!found) void this.#later(name, owner, lost);
        [failures, failure] = [0, undefined];
      } catch (error) {
        // Any failure may pass. If it does not, the lease ends by itself, and at worst an attempt of an occurrence is lost.
        failures += 1;
        failure = error;
        // A caller that came meanwhile has the next attempt, at once.
        for (const { reject } of doubt.askers.splice(0, told)) reject(error);
      }
      if (failure === undefined || failures >= TRIES || this.#isClosed) {
        [failures, failure] = [0, undefined];
        doubt.tries.shift();
      } else if (doubt.askers.length === 0) {
        await this.#pause(FIRST_PAUSE_MS * 2 ** (failures - 1), doubt);
      }
    }
    this.#doubts.delete(name);
    for (const { resolve } of doubt.askers) resolve();
  }

  /** Nothing was found: its statement may have come after the one that looked for it. */
  async #later(name: string, owner: string, lost: L | undefined): Promise<void> {
    await this.#pause(STRAGGLER_MS);
    // The lease of one that arrived so late ends by itself if it cannot be taken back now.
    if (!this.#isClosed) await this.#release(name, owner, lost).catch(() => false);
  }

  #pause(ms: number, doubt?: Doubt<L>): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#pauses.delete(end);
        if (doubt !== undefined) doubt.hurry = nothing;
        resolve();
      };
      const timer = setTimeout(end, ms).unref();
      this.#pauses.add(end);
      if (doubt !== undefined) doubt.hurry = end;
    });
  }
}
