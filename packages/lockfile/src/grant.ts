import type { Grant } from '@solorun/core';
import { readRecord, type LockRecord } from './record.ts';
import type { StoredFile } from './store.ts';

/** A grant of this process. One that an operator has put together from the record is a plain `Grant`. */
export interface GenerationGrant extends Grant {
  readonly record: LockRecord;
  /** As written; a renewal writes it again. */
  readonly body: string;
  /** The last write that counted, by this process's clock: some moment before it. */
  readonly written: { at: number };
  /** The generation that it followed, if nothing stands below that. Told when that is known. */
  below: bigint | undefined;
}

/** The record of a grant, if the grant still owns it: compared by the nonce, where the record is kept. */
export function recordIn(file: StoredFile | undefined, grant: Grant): LockRecord | undefined {
  const { body, record: asWritten } = grant as Partial<GenerationGrant>;
  const record = file === undefined ? undefined : file.body === body ? asWritten : readRecord(file.body);
  return record?.owner === grant.owner ? record : undefined;
}
