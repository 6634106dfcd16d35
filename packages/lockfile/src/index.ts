export { lockfile, type LocalLockOptions, type Lockfile, type LockfileOptions } from './lockfile.ts';
export type { Care, FileStore, Proof, StoredFile } from './store.ts';
