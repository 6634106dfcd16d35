import type { AcquireRequest } from '@solorun/core';
import { createBatch, Failure, oneAtATime, type Batch } from '@solorun/core/server';
import type { Row, Statement } from '../server/client.ts';
import { sqlState } from '../server/errors.ts';
import { inOrder, questions, wishesOf, type Statements, type Wishes } from '../server/statements.ts';
import { aloneStatements, type AloneStatements } from './statements.ts';
import type { Tables } from './tables.ts';

/** A try, as the statement `acquire` takes it. */
export interface Try extends Wishes {
  readonly name: string;
  readonly key: string;
  readonly owner: string;
  readonly host: string;
  readonly pid: number;
  readonly label: string | undefined;
  readonly lease: number;
  /** The lease that is over by what this process has seen of it, whatever the server's clock says. */
  readonly over_owner?: string | undefined;
  readonly over_at?: number | undefined;
}

export function tryOf(request: AcquireRequest, leaseMs: number, key: string): Try {
  const { name, owner, holder } = request;
  return {
    name,
    key,
    owner,
    host: holder.host,
    pid: holder.pid,
    label: holder.label,
    lease: leaseMs,
    ...wishesOf(request),
  };
}

interface Owned {
  readonly name: string;
  readonly owner: string;
}

interface Ending extends Owned {
  readonly result: string;
  readonly error: string | undefined;
  /** The run may be one that is kept. */
  readonly kept: boolean;
}

/** The questions of one turn in one statement each, one statement at a time per verb. */
export class Batches {
  /** A row of the answer, with the `fence` of what was granted. */
  readonly acquiring: Batch<Try, Row>;
  /** `yes`, `no`, or `locked`: another transaction has the row at this moment. */
  readonly renewing: Batch<Owned, string>;
  readonly releasing: Batch<Ending, boolean>;
  readonly #tables: Tables;
  readonly #statements: Statements;
  readonly #alone: AloneStatements;
  readonly #channel: string;

  constructor(tables: Tables, statements: Statements, schema: string, channel: string) {
    this.#tables = tables;
    this.#statements = statements;
    this.#alone = aloneStatements(schema);
    this.#channel = channel;
    this.acquiring = createBatch(oneAtATime(undefined), (_, tries) => this.#acquire(tries));
    this.renewing = createBatch(oneAtATime(undefined), (_, owned) => this.#renew(owned));
    this.releasing = createBatch(oneAtATime(undefined), (_, endings) => this.#release(endings));
  }

  async #acquire(tries: readonly Try[]): Promise<readonly (Row | Failure)[]> {
    try {
      const [only] = tries;
      if (tries.length === 1 && only?.at_ms === undefined && only?.over_owner === undefined) {
        const row = await this.#takeAlone(only!);
        if (row !== undefined) return [row];
      }
      return inOrder(await this.#tables.ask(() => this.#acquireStatement(tries)), tries.length);
    } catch (error) {
      // data_exception: one of them is at fault, and the others should not suffer for it.
      if (tries.length === 1 || !sqlState(error).startsWith('22')) throw error;
      return Promise.all(tries.map((one) => this.#acquireAlone(one)));
    }
  }

  async #acquireAlone(one: Try): Promise<Row | Failure> {
    try {
      const [row] = await this.#acquire([one]);
      return row!;
    } catch (error) {
      return new Failure(error);
    }
  }

  /** Rows that are made anew begin above the fences of a schema that was dropped. */
  #acquireStatement(tries: readonly Try[]): Statement {
    const { floor } = this.#tables;
    const asked = floor === undefined ? tries : tries.map((one) => ({ ...one, floor }));
    return { name: 'solorun_acquire', text: this.#statements.acquire, values: [questions(asked), false] };
  }

  /** A try that needs no occurrence, of a name that has a row and is free: a third of the work. */
  async #takeAlone({ name, owner, host, pid, label, lease, unpaused, history }: Try): Promise<Row | undefined> {
    const values = [name, owner, host, pid, label, lease, unpaused === true ? null : name, history === true];
    return (await this.#tables.ask({ name: 'solorun_take', text: this.#alone.take, values }))[0];
  }

  async #renew(owned: readonly Owned[]): Promise<readonly string[]> {
    const rows = await this.#tables.ask({ name: 'solorun_renew', text: this.#statements.renew, values: [questions(owned)] });
    return inOrder(rows, owned.length).map(({ ours }) => ours!);
  }

  async #release(endings: readonly Ending[]): Promise<readonly boolean[]> {
    const [only] = endings;
    if (endings.length === 1 && only !== undefined) {
      const values = [only.name, only.owner, only.result, only.error, this.#channel];
      const { end, endKept } = this.#alone;
      const isPlain = !only.kept && only.result !== 'abandoned';
      const statement = isPlain ? { name: 'solorun_end', text: end } : { name: 'solorun_end_kept', text: endKept };
      const ended = await this.#tables.ask({ ...statement, values });
      if (ended.length > 0) return [true];
    }
    const values = [questions(endings), false, this.#channel];
    const rows = await this.#tables.ask({ name: 'solorun_release', text: this.#statements.release, values });
    return inOrder(rows, endings.length).map(({ ours }) => ours === 'true');
  }
}
