export interface Gate {
  /** Resolves when somebody stands before it. */
  readonly reached: Promise<void>;
  open(): void;
  pass(): Promise<void>;
}

/** A place where a process of a test waits until it is let go. */
export function gate(): Gate {
  let reach = (): void => {};
  let open = (): void => {};
  const reached = new Promise<void>((resolve) => (reach = resolve));
  const opened = new Promise<void>((resolve) => (open = resolve));
  return {
    reached,
    open,
    pass() {
      reach();
      return opened;
    },
  };
}
