import { createSolo, type Solo } from '@solorun/core';
import { memory } from '@solorun/core/memory';

export const solo: Solo = createSolo({ provider: memory() });
export const backUp = async (at: Date, signal: AbortSignal): Promise<string> => {
  signal.throwIfAborted();
  return at.toISOString();
};
