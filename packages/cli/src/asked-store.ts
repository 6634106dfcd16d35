import { setImmediate as nextTurn } from 'node:timers/promises';
import { createSolo, type LockProvider, type Solo } from '@solorun/core';
import type { Voice } from './output.ts';
import type { Asked } from './program.ts';
import { parseStore, type Store } from './store.ts';

export interface Opened {
  readonly store: Store;
  readonly provider: LockProvider;
  readonly solo: Solo;
}

/** Opens the store of `--store` and `--namespace` for as long as `use` takes. */
export async function withStore<T>(
  { options }: Asked,
  terms: { readonly leaseMs?: number; readonly marginMs?: number; readonly onWarning: Voice['note'] },
  use: (opened: Opened) => Promise<T>,
): Promise<T> {
  const { onWarning, ...lease } = terms;
  const { store: url, namespace } = options as { store?: string; namespace?: string };
  const store = parseStore(url, process.env);
  const provider = await store.open({ onWarning });
  const solo = createSolo({ provider, ...lease, ...(namespace === undefined ? {} : { namespace }) });
  try {
    return await use({ store, provider, solo });
  } finally {
    await solo.close({ graceMs: 0 });
    // A warning of the provider is shown before the answer, and before the process ends.
    await nextTurn();
  }
}
