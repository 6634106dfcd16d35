import type { Grant, Outcome } from '@solorun/core';
import { careFor, type Durable } from './care.ts';
import type { Deadlines } from './deadlines.ts';
import type { FreeLocks } from './free-locks.ts';
import { recordIn, type GenerationGrant } from './grant.ts';
import { generationKey } from './key.ts';
import { writeRecord, type LockRecord } from './record.ts';
import type { Care, FileStore, StoredFile } from './store.ts';
import type { Tops } from './top.ts';
import { proven, releasedRecord } from './transitions.ts';

/** What a process does with a generation of its own: it renews it, and releases it. */
export class Holdings {
  readonly #store: FileStore;
  readonly #tops: Tops;
  readonly #deadlines: Deadlines;
  readonly #free: FreeLocks;
  readonly #durable: Durable;
  /** By owner: releases that are being flushed. */
  readonly #flushing = new Map<string, { readonly own: string; readonly answer: Promise<boolean> }>();

  /** @param free remembers what is released here */
  constructor(store: FileStore, tops: Tops, deadlines: Deadlines, free: FreeLocks, durable: Durable) {
    this.#store = store;
    this.#tops = tops;
    this.#deadlines = deadlines;
    this.#free = free;
    this.#durable = durable;
  }

  /** Only the process that acquired a lease renews it, with what it wrote then. */
  async renew(key: string, grant: Grant): Promise<boolean> {
    const { body, written } = grant as Partial<GenerationGrant>;
    if (body === undefined || written === undefined) return false;
    const own = generationKey(key, grant.fence);
    const calledAt = performance.now();
    const file = await this.#store.read(own);
    const record = recordIn(file, grant);
    const renewed =
      file !== undefined &&
      record?.state === 'held' &&
      // Asked last, so that little time lies between the answer and the write. No other process moves the time of this file.
      !this.#deadlines.isSpent(file, record, written.at, await this.#store.now()) &&
      (await this.#store.write(own, body, 'whole')) &&
      (await this.#tops.isTop(key, grant.fence));
    if (renewed) written.at = calledAt;
    else await this.#store.letGo(own, body);
    return renewed;
  }

  async release(key: string, grant: Grant, outcome: Outcome): Promise<boolean> {
    const own = generationKey(key, grant.fence);
    // A caller that did not want to wait for the flush comes again, and a second one would take as long.
    const before = this.#flushing.get(grant.owner);
    if (before?.own === own) return before.answer;
    const now = await this.#store.now();
    const file = await this.#store.read(own);
    const record = recordIn(file, grant);
    // Listed before the write: a generation that comes after it is the next holder's, in due form.
    if (file === undefined || record === undefined || !(await this.#tops.isTop(key, grant.fence))) {
      const { body } = grant as Partial<GenerationGrant>;
      if (body !== undefined) await this.#store.letGo(own, body);
      return false;
    }
    const care = careFor(this.#durable, record, outcome);
    // The first release counts, and a second one is quiet; but the first one may have failed to reach the disk.
    if (record.state === 'released') return care !== 'durable' || this.#store.write(own, file.body, 'durable');
    const answer = this.#writeReleased(
      key,
      grant,
      file,
      record,
      proven(releasedRecord(record, grant.fence, outcome, now), grant.fence),
      care,
    );
    if (care !== 'durable') return answer;
    this.#flushing.set(grant.owner, { own, answer });
    return answer.finally(() => this.#flushing.delete(grant.owner));
  }

  /** @param file with `record`, as it was read before */
  async #writeReleased(
    key: string,
    grant: Grant,
    file: StoredFile,
    record: LockRecord,
    after: LockRecord,
    care: Care,
  ): Promise<boolean> {
    const body = writeRecord(after);
    if (!(await this.#store.write(generationKey(key, grant.fence), body, care))) return false;
    // A process that took over before it was written goes by what stood there.
    const mayBeOver = this.#deadlines.mayBeOver(file, record, await this.#store.now());
    if (mayBeOver && !(await this.#tops.isTop(key, grant.fence))) {
      throw new Error('the lease ended before the release was written, and somebody who may not have seen it has followed');
    }
    const { below } = grant as Partial<GenerationGrant>;
    // A try by memory does not look at the floor.
    if (after.start === undefined) this.#free.remember(key, { generation: grant.fence, below, body, record: after });
    return true;
  }
}
