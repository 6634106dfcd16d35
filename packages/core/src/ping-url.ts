import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { linkAbort } from './abort.ts';
import { checkObject } from './checks.ts';
import { messageOf, OptionError, quote, redact } from './errors.ts';
import { checkKnown, ofPing } from './known-options.ts';
import type { RunHook } from './run-hooks.ts';

export interface PingOptions {
  /** `POST` sends the message of the error with a failure, shortened and with credentials masked. @default 'GET' */
  readonly method?: 'GET' | 'POST' | undefined;
  /** Pings `<url>/start` when the handler starts. For a monitor that has no such address: false. @default true */
  readonly start?: boolean | undefined;
  /** Pings `<url>/fail` when a run has failed or its lease was lost; with false such a run is not reported at all. @default true */
  readonly fail?: boolean | undefined;
}

/** How long one answer may take, in ms. */
const ANSWER_MS = 5_000;
/** Before the second and the third try of a ping, in ms. */
const PAUSES_MS = [500, 2_000] as const;
const MAX_ERROR_LENGTH = 500;

/**
 * A hook that reports runs to a monitor that alerts when they fail to come: healthchecks.io, Cronitor, Better Stack, and others that are
 * pinged at a URL. The handler's start pings `<url>/start`, success pings `<url>`, and failure `<url>/fail`; a query string of the URL
 * is kept, and `rid`, a UUID that both pings of a run share, is added to it.
 *
 * A ping never delays a run, nor fails it. It is tried three times, with 5 s for each answer. A ping that did not arrive is reported in
 * one process warning per URL (`SOLORUN_PING`), until one arrives again. Such a URL is a secret: the warning shows its host alone.
 *
 * `solo.close()` waits for pings for 5 s at most, and a pause before another try keeps no process alive. Call it before the process ends.
 *
 * Only the replica that runs the handler pings. Instrumentation around `run()`, and so outside of the lock, reports each replica that
 * skipped as a success, and a job that no longer runs anywhere as well.
 *
 * @throws OptionError
 * @example
 * await solo.run('backup', backup, { onRun: pingUrl(process.env.BACKUP_PING_URL) });
 */
export function pingUrl(url: string | URL, options: PingOptions = {}): RunHook {
  checkObject('pingUrl()', options);
  checkKnown(ofPing, options);
  const { start = true, fail = true } = options;
  const monitor = new Monitor(url, options.method);

  return ({ name, closed }) => {
    const ping = { name, rid: randomUUID() };
    const starting = new AbortController();
    const started = start ? monitor.tell({ ...ping, suffix: '/start' }, closed, starting.signal) : undefined;
    return async ({ outcome, error }) => {
      // A start that arrives after the end would look like a run that never ends.
      starting.abort();
      await started;
      if (outcome === 'done') await monitor.tell({ ...ping, suffix: '' }, closed);
      else if (fail) await monitor.tell({ ...ping, suffix: '/fail', text: messageOf(error) }, closed);
    };
  };
}

interface Ping {
  /** Of the lock. */
  readonly name: string;
  readonly rid: string;
  readonly suffix: '' | '/start' | '/fail';
  readonly text?: string;
}

/** Why a ping did not arrive. */
interface Trouble {
  readonly says: string;
  /** The monitor has answered, and would answer the same again. */
  readonly final: boolean;
}

/** URLs of monitors that could not be told, and whose trouble was reported. */
const reported = new Set<string>();
const MOST_REPORTED = 1_000;

/** A monitor that is pinged at a URL. */
class Monitor {
  readonly #url: URL;
  readonly #method: 'GET' | 'POST';
  readonly #headers: Record<string, string> = { 'user-agent': 'solorun' };

  constructor(url: unknown, method: unknown = 'GET') {
    if (method !== 'GET' && method !== 'POST') throw new OptionError(`The method of pingUrl() is 'GET' or 'POST'.`);
    this.#method = method;
    this.#url = parse(url);
    const { username, password } = this.#url;
    if (username === '' && password === '') return;
    // fetch() refuses them in a URL, with an error that quotes it; the address of a ping is made without them.
    const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
    this.#headers['authorization'] = `Basic ${credentials}`;
  }

  /**
   * Never rejects.
   *
   * @param closed ends what is under way
   * @param moot a ping that has not arrived by then is not tried again
   */
  async tell(ping: Ping, closed: AbortSignal, moot?: AbortSignal): Promise<void> {
    let trouble = await this.#try(ping, closed);
    for (const pauseMs of PAUSES_MS) {
      if (trouble === undefined || trouble.final || closed.aborted) break;
      await pause(pauseMs, closed, moot);
      if (moot?.aborted === true) return;
      if (!closed.aborted) trouble = await this.#try(ping, closed);
    }
    const url = this.#url.href;
    if (trouble === undefined) reported.delete(url);
    else if (moot?.aborted !== true && !reported.has(url)) {
      if (reported.size >= MOST_REPORTED) reported.clear();
      reported.add(url);
      this.#warn(ping, trouble);
    }
  }

  async #try({ rid, suffix, text }: Ping, closed: AbortSignal): Promise<Trouble | undefined> {
    const stop = new AbortController();
    const unlink = linkAbort(closed, stop);
    const timer = setTimeout(() => stop.abort(), ANSWER_MS).unref();
    const body = this.#method === 'POST' && text !== undefined ? redact(text).slice(0, MAX_ERROR_LENGTH).toWellFormed() : null;
    try {
      const target = address(this.#url, suffix, rid);
      const answer = await fetch(target, { method: this.#method, headers: this.#headers, body, signal: stop.signal });
      await answer.body?.cancel();
      if (answer.ok) return undefined;
      const { status } = answer;
      return { says: `it answered with status ${status}`, final: status < 500 && status !== 408 && status !== 429 };
    } catch (error) {
      const silent = closed.aborted ? 'no answer before the solo was closed' : `no answer within ${ANSWER_MS} ms`;
      return { says: stop.signal.aborted ? silent : codeOf(error), final: false };
    } finally {
      clearTimeout(timer);
      unlink();
    }
  }

  #warn({ name, suffix }: Ping, { says }: Trouble): void {
    const what = { '': 'success', '/start': 'start', '/fail': 'failure' }[suffix];
    process.emitWarning(
      `The monitor at ${this.#url.host} was not told of the ${what} of ${quote(name)}: ${says}. The run goes on without it; ` +
        'look whether the URL of pingUrl() is right, and can be reached from here.',
      { code: 'SOLORUN_PING' },
    );
  }
}

/** No message shows the URL: its path is what a monitor knows its owner by. */
function parse(url: unknown): URL {
  const text = String(url);
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  if (parsed?.protocol === 'http:' || parsed?.protocol === 'https:') return parsed;
  throw new OptionError('pingUrl() needs an absolute URL that begins with http:// or https://.');
}

function address({ origin, pathname, search, searchParams }: URL, suffix: Ping['suffix'], rid: string): string {
  const path = suffix === '' ? pathname : `${pathname.replace(/\/$/, '')}${suffix}`;
  if (searchParams.has('rid')) return `${origin}${path}${search}`;
  return `${origin}${path}${search === '' ? '?' : `${search}&`}rid=${rid}`;
}

/** `ECONNREFUSED`: the message of an error of fetch() may quote more than may be shown. */
function codeOf(error: unknown): string {
  const { code } = ((error as Partial<Error>).cause ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' ? code : 'it cannot be reached';
}

async function pause(ms: number, ...ends: (AbortSignal | undefined)[]): Promise<void> {
  const over = new AbortController();
  const unlink = ends.map((end) => linkAbort(end, over));
  // It rejects when it is ended, and for no other reason.
  await sleep(ms, undefined, { ref: false, signal: over.signal }).catch(() => {});
  for (const end of unlink) end();
}
