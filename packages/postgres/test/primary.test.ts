import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { createSolo } from '@solorun/core';
import { startProxy } from '@solorun/servers/network';
import { describe, expect, it, onTestFinished } from 'vitest';
import { connect, type PostgresConnection } from '../src/server/client.ts';
import { LoginRefusedError, postgresAdvisory, postgresLease } from '../src/index.ts';
import { findPath } from '../src/server/pooler.ts';
import { createPrimary, type Opener } from '../src/server/primary.ts';
import { openSession } from '../src/server/open.ts';
import { failureOf, onPostgres, until } from './server.ts';

describe('the primary among hosts that are slow', () => {
  const gate = (): { readonly passed: Promise<void>; readonly open: () => void } => {
    let open = (): void => {};
    const passed = new Promise<void>((resolve) => {
      open = resolve;
    });
    return { passed, open };
  };

  /** Connects to hosts as `connecting` says, and writes down what happens to the connections. */
  function witnessed(
    connecting: Record<string, (signal: AbortSignal) => Promise<void>>,
    preparing: Record<string, () => Promise<void>> = {},
  ): { readonly opener: Opener<string, string>; readonly seen: string[] } {
    const seen: string[] = [];
    return {
      seen,
      opener: {
        async connect(_, host, signal) {
          seen.push(`connects to ${host}`);
          await connecting[host]?.(signal);
          return host;
        },
        async prepare(host) {
          seen.push(`prepares ${host}`);
          await preparing[host]?.();
          return host;
        },
        discard: (host) => void seen.push(`discards ${host}`),
      },
    };
  }

  const never = (signal: AbortSignal): Promise<void> => once(signal, 'abort').then(() => Promise.reject(signal.reason as Error));

  it('is found behind those that say nothing, which are given up then, and is asked first from then on', async () => {
    const primary = createPrimary('test', { host: 'a,b,c' });
    const signals: AbortSignal[] = [];
    const silent = (signal: AbortSignal): Promise<void> => {
      signals.push(signal);
      return never(signal);
    };
    const { opener, seen } = witnessed({ a: silent, b: silent });
    expect(await primary.reach(opener)).toBe('c');
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    seen.length = 0;
    expect(await primary.reach(opener)).toBe('c');
    expect(seen).toEqual(['connects to c', 'prepares c']);
  });

  it('is made ready alone: what comes later is discarded, and what fails makes way', async () => {
    const late = gate();
    const ready = gate();
    const { opener, seen } = witnessed(
      { a: () => late.passed },
      {
        async b() {
          late.open();
          await ready.passed;
        },
      },
    );
    const reached = createPrimary('test', { host: 'a,b' }).reach(opener);
    await late.passed;
    // However long it takes for the other one to get there.
    await new Promise(setImmediate);
    expect(seen).toEqual(['connects to a', 'connects to b', 'prepares b']);
    ready.open();
    expect(await reached).toBe('b');
    await until('the late one is discarded', async () => seen.includes('discards a'));

    const again = gate();
    const other = witnessed(
      { a: () => again.passed },
      {
        async b() {
          again.open();
          throw new Error('read-only');
        },
      },
    );
    expect(await createPrimary('test', { host: 'a,b' }).reach(other.opener)).toBe('a');
    expect(other.seen).toEqual(['connects to a', 'connects to b', 'prepares b', 'prepares a']);
  });

  it('is given up together with all others when one refuses the login', async () => {
    let given: AbortSignal | undefined;
    const refused = Object.assign(new Error('password authentication failed'), { code: '28P01' });
    const { opener, seen } = witnessed({
      a(signal) {
        given = signal;
        return never(signal);
      },
      b: () => Promise.reject(refused),
    });
    const error = await failureOf(createPrimary('test', { host: 'a,b,c' }).reach(opener));
    expect(error).toBeInstanceOf(LoginRefusedError);
    expect(error.cause).toBe(refused);
    expect(seen).toEqual(['connects to a', 'connects to b']);
    expect(given?.aborted).toBe(true);
  });
});

describe('a first host that is dead', () => {
  const stage = onPostgres();

  it.each([
    ['postgresAdvisory', postgresAdvisory],
    ['postgresLease', postgresLease],
  ] as const)('does not cost the first try of %s', async (_, open) => {
    const dead = await startProxy(stage.server);
    dead.cut();
    onTestFinished(() => dead.stop());
    const connectionString = `postgres://postgres@127.0.0.1:${dead.port},127.0.0.1:${stage.server.port}/postgres`;
    const solo = createSolo({ provider: open({ connectionString }) });
    onTestFinished(() => solo.close());
    expect(await solo.run(`behind a dead host ${open.name}`, () => 'ran')).toMatchObject({ status: 'ran' });
    expect(dead.connections).toBeGreaterThan(0);
  });
});

describe('an attempt that is given up', () => {
  const noTimeMs = 600_000;
  const about = { kind: 'test', applicationName: 'test', settings: {}, allowPooler: true, timeoutMs: noTimeMs };

  it.each([
    ['to connect', (to: PostgresConnection, signal: AbortSignal) => connect(to, noTimeMs, () => {}, signal)],
    ['to find a pooler', (to: PostgresConnection, signal: AbortSignal) => findPath(to, noTimeMs, signal)],
    ['to open a session', (connection: PostgresConnection, signal: AbortSignal) => openSession({ ...about, connection, signal })],
  ])('%s leaves nothing open', async (_, attempt) => {
    const silent = createServer((socket) => void socket.resume()).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    onTestFinished(() => void silent.close());
    const connected = once(silent, 'connection') as Promise<[Socket]>;
    const controller = new AbortController();
    const { port } = silent.address() as AddressInfo;
    const attempted = failureOf(attempt({ host: '127.0.0.1', port }, controller.signal));
    const [socket] = await connected;
    const closed = once(socket, 'close');
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await attempted).toBe(reason);
    await closed;
  });
});
