import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { networkNamespace, networkNamespaceMissing, startProxy } from '@solorun/servers/network';
import { startPostgres } from '@solorun/servers/postgres';

/** Not by `once`, which an error on the way would reject. */
const closing = (socket: Socket): Promise<unknown> =>
  new Promise((resolve) => {
    socket.once('close', resolve);
  });

describe('a proxy', () => {
  let echo: Server;
  let port: number;
  /** What the server has heard. */
  let heard: string;
  const sockets = new Set<Socket>();

  beforeEach(async () => {
    heard = '';
    echo = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        heard += String(chunk);
        socket.write(chunk);
      });
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    port = (echo.address() as AddressInfo).port;
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    echo.close();
    await once(echo, 'close');
  });

  /** A client and all that was said to it. */
  async function open(to: number): Promise<{ socket: Socket; said(): string }> {
    const socket = connect(to, '127.0.0.1');
    sockets.add(socket);
    let said = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      said += String(chunk);
    });
    await once(socket, 'connect');
    return { socket, said: () => said };
  }

  it('passes on what is said and counts it', async () => {
    await using proxy = await startProxy({ port });
    const client = await open(proxy.port);
    for (const word of ['a', 'ab', 'abc']) {
      client.socket.write(word.slice(-1));
      await vi.waitFor(() => expect(client.said()).toBe(word));
    }
    expect(proxy).toMatchObject({ connections: 1, open: 1, roundTrips: 3, chunks: { up: 3, down: 3 } });
    client.socket.end();
    await closing(client.socket);
    await vi.waitFor(() => expect(proxy.open).toBe(0));
    expect(proxy.through('postgresql://me:x@db.example:5432/jobs?a=b')).toBe(`postgresql://me:x@127.0.0.1:${proxy.port}/jobs?a=b`);
  });

  it('is silent when cut, to new connections too, and delivers everything when mended', async () => {
    await using proxy = await startProxy({ port });
    const before = await open(proxy.port);
    before.socket.write('1');
    await vi.waitFor(() => expect(before.said()).toBe('1'));
    proxy.cut();
    before.socket.write('2');
    const during = await open(proxy.port);
    during.socket.write('3');
    const gone = await open(proxy.port);
    gone.socket.end('4');
    await vi.waitFor(() => expect(proxy.chunks.up).toBe(4));
    await sleep(50);
    expect([heard, before.said(), during.said()]).toEqual(['1', '1', '']);
    expect([before.socket.readyState, during.socket.readyState]).toEqual(['open', 'open']);
    proxy.mend();
    await vi.waitFor(() => expect([before.said(), during.said()]).toEqual(['12', '3']));
    await vi.waitFor(() => expect([...heard].sort().join('')).toBe('1234'));
  });

  it('loses answers alone when only they are cut', async () => {
    await using proxy = await startProxy({ port });
    const client = await open(proxy.port);
    proxy.cut('down');
    client.socket.write('done');
    await vi.waitFor(() => expect(heard).toBe('done'));
    const closed = closing(client.socket);
    proxy.breakAll();
    await closed;
    expect(client.said()).toBe('');
  });

  it('resets, and never opens what was reset during a cut', async () => {
    await using proxy = await startProxy({ port });
    const accepted = vi.fn<(socket: Socket) => void>();
    echo.on('connection', accepted);
    proxy.cut();
    const client = await open(proxy.port);
    client.socket.write('x');
    await vi.waitFor(() => expect(proxy.chunks.up).toBe(1));
    const closed = closing(client.socket);
    proxy.breakAll();
    await closed;
    proxy.mend();
    const next = await open(proxy.port);
    next.socket.write('y');
    await vi.waitFor(() => expect(next.said()).toBe('y'));
    expect([heard, accepted.mock.calls.length]).toEqual(['y', 1]);
    next.socket.resetAndDestroy();
    await vi.waitFor(() => expect(proxy.open).toBe(0));
    // The server learns of it.
    await vi.waitFor(() => expect(accepted.mock.calls[0]?.[0].destroyed).toBe(true));
  });

  it('delays, and keeps the order when the delay changes', async () => {
    await using proxy = await startProxy({ port });
    const client = await open(proxy.port);
    client.socket.write('0');
    await vi.waitFor(() => expect(client.said()).toBe('0'));
    proxy.delay(200);
    const since = performance.now();
    client.socket.write('1');
    await vi.waitFor(() => expect(proxy.chunks.up).toBe(2));
    proxy.delay(0);
    client.socket.write('2');
    await vi.waitFor(() => expect(client.said()).toBe('012'), 5_000);
    expect(performance.now() - since).toBeGreaterThanOrEqual(199);
  });

  it('tells a client of a server that is not there, or that ends', async () => {
    await using proxy = await startProxy({ port });
    const client = await open(proxy.port);
    client.socket.write('x');
    await vi.waitFor(() => expect(client.said()).toBe('x'));
    const closed = closing(client.socket);
    for (const socket of sockets) if (socket !== client.socket) socket.end();
    await closed;
    const nobody = await startProxy({ port: 1 });
    const refused = connect(nobody.port, '127.0.0.1');
    refused.on('error', () => {});
    await closing(refused);
    await nobody.stop();
    await nobody.stop();
  });
});

const missing = networkNamespaceMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: network namespaces. ${missing}\n`);

describe.runIf(missing === undefined || process.env['CI'] === 'true')('a network namespace', () => {
  it('reaches a Postgres out here until it is cut, and again when mended', { timeout: 60_000 }, async () => {
    await using postgres = await startPostgres({ settings: { listen_addresses: '*' } });
    using namespace = networkNamespace();
    const url = postgres.urlFor({ host: namespace.hostAddress });
    const [file, ...args] = namespace.command;
    const program = new URL('programs/ask.js', import.meta.url).pathname;
    const inside = spawn(file, [...args, process.execPath, program, url], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const answers: string[] = [];
      createInterface({ input: inside.stdout }).on('line', (line) => answers.push(line));
      const more = async (): Promise<void> => {
        const soFar = answers.length;
        await vi.waitFor(() => expect(answers.length).toBeGreaterThan(soFar), 20_000);
      };
      await more();
      expect(answers[0]).toBe(namespace.address);
      namespace.cut();
      await sleep(100);
      const atCut = answers.length;
      await sleep(500);
      expect(answers.length).toBe(atCut);
      // From out here it is still seen as connected: nobody told the server.
      const client = new Client({ connectionString: postgres.url });
      await client.connect();
      const { rows } = await client.query('SELECT 1 FROM pg_stat_activity WHERE client_addr = $1', [namespace.address]);
      await client.end();
      expect(rows.length).toBe(1);
      namespace.mend();
      await more();
    } finally {
      inside.kill('SIGKILL');
    }
  });
});
