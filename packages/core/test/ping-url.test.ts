import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createSolo, OptionError, pingUrl, type Solo } from '../src/index.ts';
import { memory } from '../src/memory.ts';
import { deferred, rejection } from './stage.ts';

interface Pinged {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly search: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

type Answer = number | 'silence' | Promise<unknown>;

/** A monitor that answers its pings as the test has it. */
class Monitor {
  readonly pings: Pinged[] = [];
  readonly #server: Server;
  #heard = (): void => {};
  #port = 0;

  /** @param answer to the ping number `index` */
  constructor(answer: (ping: Pinged, index: number) => Answer = () => 200) {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { pathname, searchParams, search } = new URL(request.url!, 'http://monitor');
        const body = Buffer.concat(chunks).toString();
        const { headers } = request;
        const ping = { method: request.method!, path: pathname, query: searchParams, search, headers, body };
        const answered = answer(ping, this.pings.push(ping) - 1);
        this.#heard();
        const reply = (status: number): void => void response.writeHead(status).end('OK');
        if (typeof answered === 'number') reply(answered);
        else if (answered !== 'silence') void answered.then(() => reply(200));
      });
    });
    monitors.push(this);
  }

  async url(path = '/secret'): Promise<string> {
    if (!this.#server.listening) await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
    return `http://${this.host}${path}`;
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Resolves when it was pinged so often. */
  async heard(count: number): Promise<void> {
    while (this.pings.length < count) await new Promise<void>((resolve) => (this.#heard = resolve));
  }

  get paths(): string[] {
    return this.pings.map(({ path }) => path);
  }

  end(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

const monitors: Monitor[] = [];
const open = (): Solo => createSolo({ provider: memory() });

afterEach(() => {
  for (const monitor of monitors.splice(0)) monitor.end();
  vi.restoreAllMocks();
});

/** The warnings from now on that name a host: pings of an earlier test may still be under way. */
function warningsAbout(host: () => string): () => unknown[][] {
  const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
  return () => warned.mock.calls.filter(([message]) => String(message).includes(host()));
}

/** A port that nothing listens at. */
async function deafPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('pingUrl', () => {
  it('pings the start and the success of a run, with one id', async () => {
    const monitor = new Monitor();
    const solo = open();
    const onRun = pingUrl(await monitor.url());
    await solo.run('job', () => {}, { onRun });
    await solo.run('job', () => {}, { onRun });
    await solo.close();
    expect(monitor.paths.toSorted()).toEqual(['/secret', '/secret', '/secret/start', '/secret/start']);
    const ids = new Set(monitor.pings.map(({ query }) => query.get('rid')));
    expect(ids.size).toBe(2);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(new Set(monitor.pings.map(({ method }) => method))).toEqual(new Set(['GET']));
  });

  it('pings a failure', async () => {
    const monitor = new Monitor();
    const solo = open();
    await rejection(solo.run('job', () => Promise.reject(new Error('no')), { onRun: pingUrl(await monitor.url()) }));
    await solo.close();
    expect(monitor.paths).toEqual(['/secret/start', '/secret/fail']);
  });

  it('keeps the query of the URL as it is', async () => {
    const monitor = new Monitor();
    const solo = open();
    await solo.run('job', () => {}, { onRun: pingUrl(await monitor.url('/a%20b/?create=1&tag=a%20b+c')) });
    await solo.close();
    expect(monitor.pings.map(({ path, search }) => [path, search.split('&rid=')[0]])).toEqual([
      ['/a%20b/start', '?create=1&tag=a%20b+c'],
      ['/a%20b/', '?create=1&tag=a%20b+c'],
    ]);
  });

  it('leaves out what a monitor does not know', async () => {
    const monitor = new Monitor();
    const solo = open();
    const onRun = pingUrl(new URL(await monitor.url()), { start: false, fail: false });
    await rejection(solo.run('job', () => Promise.reject(new Error('no')), { onRun }));
    await solo.run('job', () => {}, { onRun });
    await solo.close();
    expect(monitor.paths).toEqual(['/secret']);
  });

  it('posts the message of a failure, without credentials', async () => {
    const monitor = new Monitor();
    const solo = open();
    const error = new Error('cannot reach postgres://app:hunter2@db/app');
    await rejection(solo.run('job', () => Promise.reject(error), { onRun: pingUrl(await monitor.url(), { method: 'POST' }) }));
    await solo.close();
    expect(monitor.pings.map(({ method, body }) => [method, body])).toEqual([
      ['POST', ''],
      ['POST', 'cannot reach postgres://***@db/app'],
    ]);
  });

  it('sends credentials of the URL in a header', async () => {
    const monitor = new Monitor();
    const solo = open();
    const url = (await monitor.url()).replace('://', '://user:p%40ss@');
    await solo.run('job', () => {}, { onRun: pingUrl(url) });
    await solo.close();
    expect(monitor.pings[1]?.headers.authorization).toBe(`Basic ${Buffer.from('user:p@ss').toString('base64')}`);
  });

  it('does not let the run wait for an answer', async () => {
    const monitor = new Monitor(() => 'silence');
    const solo = open();
    const onRun = pingUrl(await monitor.url());
    expect(await solo.run('job', () => monitor.heard(1), { onRun })).toMatchObject({ status: 'ran', released: true });
    expect(await solo.run('job', () => 'again', { onRun })).toMatchObject({ value: 'again' });
  });

  it('sends the end only when the start has arrived', async () => {
    const begun = deferred();
    const monitor = new Monitor((_, index) => (index === 0 ? begun.promise : 200));
    const other = new Monitor();
    const solo = open();
    const onRun = [pingUrl(await monitor.url()), pingUrl(await other.url(), { start: false })];
    await solo.run('job', () => monitor.heard(1), { onRun });
    const closing = solo.close();
    // An end that did not wait would have been sent before this one.
    await other.heard(1);
    expect(monitor.paths).toEqual(['/secret/start']);
    begun.resolve();
    await closing;
    expect(monitor.paths).toEqual(['/secret/start', '/secret']);
  });

  it('tries again where the monitor is in trouble, and says nothing when it succeeds', async () => {
    const monitor = new Monitor((_, index) => (index < 2 ? 503 : 200));
    const warned = warningsAbout(() => monitor.host);
    const solo = open();
    await solo.run('job', () => {}, { onRun: pingUrl(await monitor.url(), { start: false }) });
    await solo.close();
    expect(monitor.paths).toEqual(['/secret', '/secret', '/secret']);
    expect(warned()).toEqual([]);
  });

  it('does not send a start once more when the run is over', async () => {
    const monitor = new Monitor((ping) => (ping.path.endsWith('/start') ? 503 : 200));
    const solo = open();
    await solo.run('job', () => monitor.heard(1), { onRun: pingUrl(await monitor.url()) });
    await solo.close();
    expect(monitor.paths).toEqual(['/secret/start', '/secret']);
  });

  it('reports trouble once per URL, until a ping arrives again, and shows the host alone', async () => {
    let status = 404;
    const monitor = new Monitor(() => status);
    const warned = warningsAbout(() => monitor.host);
    const solo = open();
    const url = await monitor.url('/secret?key=hidden');
    const run = async (): Promise<unknown> => {
      await solo.run('job\n', () => {}, { onRun: pingUrl(url, { start: false }) });
      return monitor.heard(1);
    };
    await run();
    await vi.waitFor(() => expect(warned()).toHaveLength(1));
    await run();
    await monitor.heard(2);
    status = 200;
    await run();
    await monitor.heard(3);
    status = 410;
    await run();
    await solo.close();
    // One that the monitor refuses is not tried again.
    expect(monitor.pings).toHaveLength(4);
    expect(warned().map(([message]) => message)).toEqual([
      expect.stringMatching(
        /^The monitor at 127\.0\.0\.1:\d+ was not told of the success of "job\\n": it answered with status 404\./,
      ),
      expect.stringMatching(/status 410/),
    ]);
    expect(JSON.stringify(warned())).not.toMatch(/secret|hidden/);
    expect(warned()[0]).toMatchObject([expect.anything(), { code: 'SOLORUN_PING' }]);
  });

  it.each([
    ['that nothing listens at', (port: number) => `http://127.0.0.1:${port}/secret`, 'ECONNREFUSED'],
    ['with credentials', (port: number) => `http://secret:secret@127.0.0.1:${port}/secret`, 'ECONNREFUSED'],
    ['of a host that does not exist', (port: number) => `http://host.invalid:${port}/secret`, /: E[A-Z_]+\./],
    ['at a port that fetch() refuses', () => 'http://127.0.0.1:1/secret', 'it cannot be reached'],
  ])('reports a monitor %s without its URL', async (_, urlAt, why) => {
    const port = await deafPort();
    const url = urlAt(port);
    const warned = warningsAbout(() => new URL(url).host);
    const solo = open();
    expect(await solo.run('job', () => 1, { onRun: pingUrl(url) })).toMatchObject({ value: 1 });
    await solo.close();
    expect(warned()).toHaveLength(1);
    expect(JSON.stringify(warned())).not.toContain('secret');
    expect(warned()[0]![0]).toMatch(why);
  });

  it('gives up when close() waits no longer', { timeout: 15_000 }, async () => {
    const monitor = new Monitor(() => 'silence');
    const warned = warningsAbout(() => monitor.host);
    const solo = open();
    await solo.run('job', () => {}, { onRun: pingUrl(await monitor.url(), { start: false }) });
    const began = performance.now();
    await solo.close();
    expect(performance.now() - began).toBeLessThan(9_000);
    await vi.waitFor(() => expect(warned()).toHaveLength(1));
    expect(warned()[0]![0]).toMatch(/was not told of the success of "job": no answer/);
  });

  it('keeps no process alive for another try', async () => {
    const monitor = new Monitor(() => 503);
    const program = fileURLToPath(new URL('programs/pinging.js', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program, await monitor.url()]);
    expect(stdout).toBe('ran\n');
    expect(monitor.paths).toEqual(['/secret']);
  });

  it.each(['', 'hc-ping.com/secret', '/secret', 'file:///secret', 'ftp://host/secret', undefined])(
    'refuses %j, and does not quote it',
    (url) => {
      const refused = (): unknown => pingUrl(url as string);
      expect(refused).toThrow(OptionError);
      expect(refused).not.toThrow(/secret/);
    },
  );

  it('refuses what is no option of it', () => {
    expect(() => pingUrl('http://host/', { methd: 'POST' } as never)).toThrow(/did you mean method\?/);
    expect(() => pingUrl('http://host/', { method: 'PUT' as 'POST' })).toThrow(OptionError);
  });
});
