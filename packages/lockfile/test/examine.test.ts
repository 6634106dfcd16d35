import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { lockfile, type FileStore } from '../src/index.ts';
import { localStore } from '../src/stores/local.ts';

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'solorun-examine-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

it('reports the permissions of the directory, and its room', async () => {
  const directory = newDirectory();
  chmodSync(directory, 0o750);
  const provider = lockfile({ directory });
  onTestFinished(() => provider.close());
  expect(await provider.examine?.()).toMatchObject([
    { check: 'directory', state: 'ok', says: `${directory}, mode 750, of this user` },
    { check: 'space', state: 'ok' },
  ]);
});

it("knows nothing of a user's store, which may keep the signals that it gets", () => {
  const directory = newDirectory();
  const store: FileStore = localStore({ directory, own: true, allowNetworkFileSystem: false, kernelLocks: false });
  const [ours, theirs] = [lockfile({ directory }), lockfile({ store })];
  onTestFinished(async () => void (await Promise.all([ours.close(), theirs.close()])));
  expect([ours.forgetsSignals, theirs.forgetsSignals]).toEqual([true, false]);
  return expect(theirs.examine?.()).resolves.toEqual([]);
});
