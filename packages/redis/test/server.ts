import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { AcquireRequest, AcquireResult, Grant, LockProvider } from '@solorun/core';
import { redisMissing, startRedis, type Redis as RedisServer } from '@solorun/servers/redis';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';

export { failureOf, shown, until } from '@solorun/servers/witness';

export interface Stage {
  readonly server: RedisServer;
  /** Closed at the end of the test. */
  open(provider: LockProvider): LockProvider;
  /** A command, beside the providers. */
  ask(command: string, ...words: (string | number)[]): Promise<unknown>;
}

/**
 * One server for the tests of a file. As a rule it is made to look as if it had been running for long: one that has just started grants
 * nothing for the length of a lease.
 */
export function onRedis(options: { readonly settings?: Readonly<Record<string, string | number>> } = {}): Stage {
  let server: RedisServer | undefined;
  const opened: LockProvider[] = [];
  const missing = missingHere();
  beforeAll(async () => {
    if (missing === undefined) server = await startRedis(options);
  });
  beforeEach(({ skip }) => {
    if (missing !== undefined) skip(missing);
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((provider) => provider.close()));
  });
  afterAll(() => server?.stop());
  return {
    get server() {
      if (server === undefined) throw new Error('the server is started by beforeAll');
      return server;
    },
    open(provider) {
      opened.push(provider);
      return provider;
    },
    ask: (command, ...words) => askOf(server!.port, command, ...words),
  };
}

/** A command on a connection of its own. */
export async function askOf(port: number, command: string, ...words: (string | number)[]): Promise<unknown> {
  const client = new Redis({ port, lazyConnect: true, retryStrategy: () => null });
  client.on('error', () => {});
  try {
    await client.connect();
    return await client.call(command, ...words);
  } finally {
    client.disconnect();
  }
}

/** What is missing, said aloud; on CI nothing may be. */
export function missingHere(): string | undefined {
  const missing = process.env['CI'] === 'true' ? undefined : redisMissing();
  if (missing !== undefined) process.stderr.write(`SKIPPED: tests on a real Redis. ${missing}\n`);
  return missing;
}

export const never: AbortSignal = new AbortController().signal;
setMaxListeners(0, never);

export function asked(name: string, more: Partial<AcquireRequest> = {}): AcquireRequest {
  return { name, owner: randomUUID(), leaseMs: 500, holder: { host: 'test.host', pid: 4711, label: 'tester' }, ...more };
}

export async function acquired(provider: LockProvider, name: string, more: Partial<AcquireRequest> = {}): Promise<Grant> {
  const result: AcquireResult = await provider.tryAcquire(asked(name, more), never);
  expect(result).toMatchObject({ acquired: true });
  if (!result.acquired) throw new Error(result.reason);
  return result.grant;
}
