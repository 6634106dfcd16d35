import { createSolo } from '@solorun/core';
import { lockfile } from '@solorun/lockfile';

export const solo = createSolo({ provider: lockfile({ directory: './locks' }) });

export async function backUp(at: Date, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  return `backup-${at.toISOString()}.tar.gz`;
}
