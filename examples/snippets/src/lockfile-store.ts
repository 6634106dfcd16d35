import { createSolo } from '@solorun/core';
import { lockfile, type FileStore, type StoredFile } from '@solorun/lockfile';

// Files in memory: all that a store has to do.
function memoryStore(): FileStore {
  const files = new Map<string, StoredFile>();
  return {
    kind: 'memory',
    granularityMs: 1, // Date.now() is rounded down by as much
    proof: { pid: process.pid },
    async createExclusive(key, body) {
      if (files.has(key)) return false;
      files.set(key, { body, modifiedAt: Date.now() });
      return true;
    },
    read: async (key) => files.get(key),
    async write(key, body) {
      if (!files.has(key)) return false;
      files.set(key, { body, modifiedAt: Date.now() });
      return true;
    },
    list: async (prefix) => [...files.keys()].filter((key) => key.startsWith(prefix)),
    letGo: async () => {},
    remove: async (key) => void files.delete(key),
    now: async () => Date.now(),
    close: async () => {},
  };
}

const solo = createSolo({ provider: lockfile({ store: memoryStore() }) });

await solo.run('nightly-backup', ({ fence }) => console.log(`backing up under fence ${fence}`));

await solo.close();
