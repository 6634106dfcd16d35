import type { Failure } from '@solorun/core/server';
import type { Row, Statement } from '../server/client.ts';
import type { Key } from '../server/keys.ts';
import type { Wishes } from '../server/statements.ts';

export type Query = (statement: Statement) => Promise<readonly Row[]>;

/** The three ways of a try with the lock, as the statement `acquire` takes them. */
export const MODE = {
  /** Only look: this process holds the lock, or has tried for it in vain. */
  look: 0,
  try: 1,
  /** This session has the lock already: it has waited for it. */
  have: 2,
} as const;

export type Mode = (typeof MODE)[keyof typeof MODE];

/** A try, as the statement `acquire` takes it. */
export interface Try extends Wishes {
  readonly name: string;
  readonly key: string;
  readonly guard: string;
  readonly mode: Mode;
  readonly owner: string;
  readonly host: string;
  readonly pid: number;
  readonly label: string | undefined;
  readonly lease: number | null;
}

/** A try for the lock and its fence alone. */
export interface Taking extends Key {
  /** The name that must not be paused. `null`: a pause does not count. */
  readonly name: string | null;
}

export interface Confirmation {
  readonly name: string;
  readonly owner: string;
  readonly fence: string;
  /** The table tells of it. */
  readonly written: boolean;
}

export interface Ending {
  readonly name: string;
  readonly owner: string;
  /** Undefined: this session does not hold the lock. */
  readonly key: string | undefined;
  readonly result: string;
  readonly error: string | undefined;
  /** The record must survive a crash of the server. */
  readonly durable: boolean;
}

/** How a session acquires, confirms and releases: with records in tables of ours, or bare. A row for each question. */
export interface LockVerbs {
  acquire(ask: Query, tries: readonly Try[]): Promise<readonly (Row | Failure)[]>;
  confirm(ask: Query, confirmations: readonly Confirmation[]): Promise<readonly Row[]>;
  release(ask: Query, endings: readonly Ending[]): Promise<readonly Row[]>;
}
