/**
 * A place that keeps files, as the algorithm in generations.ts needs it: a directory, a bucket, a simulation.
 *
 * Keys are plain names made by key.ts, never paths. Every verb may reject, which means "unknown": the algorithm copes.
 */
export interface FileStore {
  readonly kind: string;
  /** How much a modification time may lie before the moment of the write, in ms. */
  readonly granularityMs: number;
  /** This process writes it into the files that it holds, so that other processes can tell whether it lives. */
  readonly proof: Proof;

  /**
   * Creates the file with its whole content, visible at once or not at all; a durable one resolves when it would survive a crash of the
   * machine, and may be visible before. False: the key exists. Rejects: it may exist or not.
   *
   * @param spare the key of a file that is needed no more, and may be used up for the new one. `from spare`: it was, so it stood there
   *   until the new one was visible
   * @param signal once it aborts, the caller no longer waits for the file
   */
  createExclusive(
    key: string,
    body: string,
    durable: boolean,
    spare?: string,
    signal?: AbortSignal,
  ): Promise<boolean | 'from spare'>;
  /**
   * Content and modification time, by the store's clock; the content may be the newer of the two. Undefined: there is no such key.
   */
  read(key: string): Promise<StoredFile | undefined>;
  /** Replaces the content and moves the modification time to the store's now. False: there is no such key. */
  write(key: string, body: string, care: Care): Promise<boolean>;
  /** The keys that start with `prefix`. */
  list(prefix: string): Promise<string[]>;
  /** The lock of the file with this content is lost or over: lets go of the proof that its holder lives. */
  letGo(key: string, body: string): Promise<void>;
  /** Quiet when there is no such key. */
  remove(key: string): Promise<void>;
  /** The store's clock, in ms since the epoch: never later than the moment at which this resolves. */
  now(): Promise<number>;
  /** Resolves when files with this prefix may have come, changed or gone. Without it the algorithm polls. */
  watch?(prefix: string, signal: AbortSignal): Promise<void>;
  /** Lets go of every file held here, as the end of the process would. Twice is quiet. */
  close(): Promise<void>;
}

/**
 * How careful a write must be. `loose`: not at all; a reader that comes while it is under way may get any mixture of old and new.
 * `whole`: readers get the old content or the new one. `durable`: whole, and it survives a crash of the machine.
 */
export type Care = 'loose' | 'whole' | 'durable';

export interface StoredFile {
  readonly body: string;
  readonly modifiedAt: number;
  /** Which device the file lies on, as its reader sees it. */
  readonly device?: string | undefined;
  /** True: no process holds the kernel's lock on this file. Undefined: the kernel cannot be asked. */
  readonly unlocked?: boolean | undefined;
}

/** How to tell whether the process that holds a file still lives. */
export interface Proof {
  readonly pid: number;
  /** Names one start of one kernel; only on the same one do pids, start times and kernel locks mean anything. */
  readonly bootId?: string | undefined;
  readonly pidNamespace?: string | undefined;
  /** In clock ticks since the boot: tells a process from a later one with its pid. */
  readonly startTime?: string | undefined;
  /** The device of the file, if the holder keeps a kernel lock on it for as long as it lives. */
  readonly lockedOn?: string | undefined;
}
