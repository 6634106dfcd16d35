import {
  OptionError,
  SolorunError,
  UnsupportedError,
  type AcquireRequest,
  type AcquireResult,
  type Guarantees,
  type JobRecord,
  type LockProvider,
} from '@solorun/core';
import {
  createActive,
  createBatch,
  createConnector,
  createOutlasted,
  createUndo,
  createWatch,
  delay,
  Failure,
  finishLimit,
  oneAtATime,
  unlessAborted,
  type Batch,
} from '@solorun/core/server';
import { checkConnection, connect, keyPrefixOf, type ConnectionOptions } from './client.ts';
import { openLink, type Link } from './link.ts';
import { answerOf, fieldsOf, markOf, recordOf, writeHolder, type Answer, type Stranded } from './record.ts';
import * as scripts from './scripts.ts';
import type { Script, Word } from './scripts.ts';
import { createWakening } from './wakening.ts';

export interface RedisOptions extends ConnectionOptions {
  /** `redis://user:password@host:6379/0`, `rediss://` for TLS. Never shown: not in errors, events, records or process titles. */
  readonly url?: string | undefined;
  /**
   * A client of ioredis 5 or 6 that knows the way (sentinels, a cluster, TLS, a socket): its options are used for connections of our
   * own, its `keyPrefix` included. It is not used itself, nor closed.
   */
  readonly client?: ConnectionOptions['client'];
  /** What all our keys and channels begin with. Programs that share locks use the same. @default 'solorun' */
  readonly prefix?: string | undefined;
  /**
   * How long a server that has just been started, or has just taken over from another one, grants nothing, in ms: what it may have
   * forgotten must be over first. 0 where nothing can be forgotten or overlap: in tests, or with `appendfsync always` and no replica
   * that takes over. @default the lease that is asked for
   */
  readonly settleMs?: number | undefined;
  /** Accepts a server that throws away keys when its memory is full: locks, fences and occurrences may then be forgotten. @default false */
  readonly allowEviction?: boolean | undefined;
}

const KIND = 'redis';
const CONNECT_MS = 5_000;
/** A connection on which nothing is heard for so long is given up: renewals wait behind what was asked before. */
const CALL_MS = 5_000;
const SHORTEST_CALL_MS = 500;
/** How often those look who are told of releases, in case a word of it is lost, in ms. When a lease ends by time, the core looks by itself. */
const LISTENING_MS = 4_000;
/** How often those look who are never told, in ms. */
const LOOK_MS = 300;
/** Names in one script: while the server works on some, the answers to others are dealt with here. */
const MOST_AT_ONCE = 16;
/** The same of tries that are taken back, for whose answers nobody waits. */
const MOST_UNDONE_AT_ONCE = 256;
const OPTIONS = ['url', 'client', 'prefix', 'settleMs', 'allowEviction'];

/**
 * Locks on Redis: leases by the server's clock, with occurrences, fences and records in the same hash, one script per question. A
 * holder that dies or is paused or cut off is followed when its lease ends.
 *
 * Redis answers before its data are safe. What a crash or a fail-over can lose, `explain()` says; so that a lost lease is never
 * granted twice, a server that has just begun to serve grants nothing for the length of a lease.
 *
 * @throws OptionError
 * @example
 * const solo = createSolo({ provider: redis({ url: process.env.REDIS_URL }) });
 */
export function redis(options: RedisOptions): LockProvider {
  checkOptions(options);
  const { prefix = 'solorun', settleMs, allowEviction = false } = options;
  const base = `${keyPrefixOf(options)}${prefix}:`;
  const lockKey = (name: string): string => `${base}lock:${name}`;
  const active = createActive();
  /** So that half of the shortest lease is left for another connection. */
  let callMs = CALL_MS;
  let closed = false;
  let listens = true;
  /** The last one on which something was refused since its server may have forgotten leases. */
  let unsettledLink: Link | undefined;

  const connector = createConnector<Link>(
    () =>
      openLink({
        kind: KIND,
        connection: options,
        observedKey: `${base}observed`,
        settles: settleMs !== 0,
        allowEviction,
        timeoutMs: CONNECT_MS,
      }),
    (link) => link.end(),
  );
  /** The last one that was open, also when it has ended. */
  let last: Link | undefined;

  async function open(signal?: AbortSignal): Promise<Link> {
    last = connector.current ?? (await connector.get(signal).catch(unsentError));
    return last;
  }

  /** One reply per key; in a cluster each is asked where it lies, and none waits for another one's node. */
  function ask(script: Script, keys: readonly string[], words: readonly Word[], wordsEach: number): Replies | Promise<Replies> {
    const link = connector.current;
    if (link === undefined) return open().then(() => ask(script, keys, words, wordsEach));
    if (!link.oneByOne) return link.run(script, keys, words, callMs);
    return keys.map((key, index) => {
      const own = words.slice(index * wordsEach, (index + 1) * wordsEach);
      return link.run(script, [key], own, callMs).then(([reply]) => reply);
    });
  }

  const outlasted = createOutlasted();
  const isOver = (name: string, { mark, leaseMs }: Stranded): boolean => outlasted.isOver(name, mark, leaseMs);

  const acquiring: Batch<Try, AcquireResult> = createBatch<Try, AcquireResult, undefined>(
    atOnce,
    async (_, requests) => {
      const words: Word[] = [];
      for (const { owner, holder, leaseMs, occurrence, over = '' } of requests) {
        words.push(owner, writeHolder(holder), leaseMs!, over);
        if (occurrence === undefined) words.push(false, 0, '');
        else words.push(occurrence.at.getTime(), occurrence.attempts, occurrence.scheduleHash ?? '');
      }
      const keys = requests.map(({ name }) => lockKey(name));
      const replies = await ask(scripts.acquire, keys, words, scripts.ACQUIRE_WORDS);
      return readAll<AcquireResult>(replies, (reply, index) => {
        if (Array.isArray(reply) && reply[0] === 'error') return new Failure(refused(reply[1]));
        const request = requests[index]!;
        try {
          const answer = answerOf(request, reply as Answer, isOver);
          return typeof answer === 'string' ? acquiring.ask({ ...request, over: answer }) : answer;
        } catch (error) {
          // Its hash is not of our making, and the others that were asked with it are well.
          return new Failure(refused(unreadable(request.name, error)));
        }
      });
    },
    MOST_AT_ONCE,
  );
  const renewing = createBatch<Owned, boolean, undefined>(atOnce, async (_, asks) => {
    const keys = asks.map(({ name }) => lockKey(name));
    const owners = asks.map(({ owner }) => owner);
    return readAll(await ask(scripts.renew, keys, owners, 1), yesOrNo);
  });
  const releaseAll = async (_: undefined, asks: readonly Ending[]): Promise<readonly (boolean | Failure | Promise<boolean>)[]> => {
    const keys = asks.map(({ name }) => lockKey(name));
    const words: Word[] = [];
    for (const { owner, result, error } of asks) words.push(owner, result, error.toWellFormed());
    return readAll(await ask(scripts.release, keys, words, scripts.RELEASE_WORDS), yesOrNo);
  };
  const releasing = createBatch<Ending, boolean, undefined>(atOnce, releaseAll, MOST_AT_ONCE);
  /** What is in doubt is often so because the server is slow: while it works on some, the others wait for the next script. */
  const undoing = createBatch<Ending, boolean, undefined>(oneAtATime(undefined), releaseAll, MOST_UNDONE_AT_ONCE);

  const wakening = createWakening(
    () => connect(options, CONNECT_MS),
    () => callMs,
    (channel) => watch.notified(channel),
    () => watch.wakeAll(),
  );
  const watch = createWatch({
    everyMs: () => (listens ? LISTENING_MS : LOOK_MS),
    async look(waiting) {
      const keys = waiting.map(({ key }) => key);
      await wakening.listenFor(keys).then(
        () => (listens = true),
        (error: unknown) => {
          // A role that may not listen looks more often; any other trouble is told.
          if (!(error as Error).message.startsWith('NOPERM')) throw error;
          listens = false;
        },
      );
      // One whose node is away is not free.
      const free = await Promise.all((await ask(scripts.look, keys, [], 0)).map(orUndefined));
      const isFree = (name: string, reply: unknown): boolean => {
        if (!Array.isArray(reply)) return reply === 1;
        const [owner, until, leaseMs] = reply as string[];
        return isOver(name, { mark: markOf(owner!, until!), leaseMs: Number(leaseMs) });
      };
      return waiting.filter(({ name }, index) => isFree(name, free[index])).map(({ name }) => name);
    },
  });

  /** A try whose answer never came may hold the name until its lease ends. */
  const undo = createUndo<undefined>((name, owner) => undoing.ask({ name, owner, result: 'abandoned', error: '' }));

  /** What nobody may be granted yet, since somebody may still hold it. */
  function unsettled(link: Link, { leaseMs, occurrence }: AcquireRequest): AcquireResult | undefined {
    const askedMs = settleMs ?? leaseMs ?? 0;
    const settlesInMs = link.settling.leftMs(askedMs);
    if (settlesInMs === 0) {
      if (askedMs > link.settling.provedMs) void link.settling.prove();
      return undefined;
    }
    if (unsettledLink !== link) {
      unsettledLink = link;
      process.emitWarning(
        'Redis has just begun to serve here, as far as anybody has observed, and may not know of leases that are still trusted: if this ' +
          `process goes on, locks are granted again in ${Math.ceil(settlesInMs / 1_000)} s.`,
        { code: 'SOLORUN_SETTLING' },
      );
    }
    return occurrence === undefined
      ? { acquired: false, reason: 'held', expiresInMs: settlesInMs, settling: true }
      : { acquired: false, reason: 'early', earlyMs: settlesInMs, settling: true };
  }

  function tryAcquire(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    const link = connector.current;
    const { name, leaseMs } = request;
    // The usual path is kept short: each promise more costs a serial lock some µs.
    const usual = link !== undefined && !closed && leaseMs !== null && leaseMs >= callMs * 2 && !signal.aborted;
    if (!usual || undo.settled(name) !== undefined || link.settling.provedMs < (settleMs ?? leaseMs))
      return tryCarefully(request, signal);
    return tryNow(request, signal);
  }

  async function tryCarefully(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    const { name, leaseMs } = request;
    signal.throwIfAborted();
    if (closed) throw new Error('the provider is closed');
    if (leaseMs === null) {
      throw new UnsupportedError(`${KIND} cannot hold a lease without an end: nothing would tell that its holder is gone.`);
    }
    // What an unanswered try may have claimed is given back before the next one is judged by it.
    const doubt = undo.settled(name);
    if (doubt !== undefined) await unlessAborted(doubt, signal);
    callMs = Math.min(callMs, Math.max(SHORTEST_CALL_MS, leaseMs / 2));
    return unsettled(connector.current ?? (await open(signal)), request) ?? unlessAborted(tryNow(request, signal), signal);
  }

  function tryNow(request: AcquireRequest, signal: AbortSignal): Promise<AcquireResult> {
    const { name, owner } = request;
    return active.track(
      acquiring.ask(request, signal).then(
        (answer) => {
          if (!signal.aborted) return answer;
          // Granted after the caller had gone.
          if (answer.acquired) undo.add(name, owner);
          throw signal.reason;
        },
        (error: unknown) => {
          if (!(signal.aborted && error === signal.reason) && mayHaveRun(error)) undo.add(name, owner);
          throw error;
        },
      ),
    );
  }

  async function inspectAll(keys: readonly string[]): Promise<readonly (JobRecord | undefined | Failure)[]> {
    const link = await open();
    const parse = ([now, ...all]: readonly unknown[], some: readonly string[]): (JobRecord | undefined | Failure)[] =>
      some.map((key, index) => {
        const name = key.slice(lockKey('').length);
        try {
          return recordOf(name, fieldsOf(all[index] as string[]), Number(now));
        } catch (error) {
          return new Failure(refused(unreadable(name, error)));
        }
      });
    if (!link.oneByOne) return parse(await link.run(scripts.inspect, keys, [], callMs), keys);
    const answers = keys.map(async (key) => parse(await link.run(scripts.inspect, [key], [], callMs), [key]));
    return (await Promise.all(answers)).flat();
  }

  return {
    kind: KIND,
    get guarantees() {
      return guaranteesOf(last, listens, settleMs);
    },
    tryAcquire,
    renew: ({ name, owner }, signal) => renewing.ask({ name, owner }, signal),
    release: ({ name, owner }, outcome, signal) =>
      active.track(
        releasing.ask({ name, owner, result: outcome.result, error: outcome.result === 'failed' ? outcome.error : '' }, signal),
      ),
    async untilFree({ name, leaseMs }, signal) {
      if (closed) throw new Error('the provider is closed');
      const settlesInMs = (await open(signal)).settling.leftMs(settleMs ?? leaseMs ?? 0);
      if (settlesInMs > 0) await delay(settlesInMs, signal);
      if (!signal.aborted) await watch.until(name, lockKey(name), signal);
    },
    async inspect(name) {
      const [record] = await inspectAll([lockKey(name)]);
      if (record instanceof Failure) throw record.error;
      return record;
    },
    async *list(prefixOfNames = '') {
      const seen = new Set<string>();
      for await (const keys of (await open()).scan(`${globLiteral(lockKey(prefixOfNames))}*`, callMs)) {
        const fresh = keys.filter((key) => !seen.has(key));
        for (const key of fresh) seen.add(key);
        if (fresh.length === 0) continue;
        for (const record of await inspectAll(fresh)) {
          // One that cannot be read must not hide the others.
          if (record instanceof Failure) process.emitWarning((record.error as Error).message, { code: 'SOLORUN_UNREADABLE' });
          else if (record !== undefined) yield record;
        }
      }
    },
    async close() {
      if (closed) return;
      closed = true;
      const limit = finishLimit();
      await active.over(limit);
      await undo.close(limit);
      // What was observed here need not be observed again by the next process, which may be as short-lived.
      const link = connector.current;
      if (link !== undefined && link === unsettledLink) await Promise.race([link.settling.prove(), limit]);
      await Promise.all([wakening.close(), connector.close()]);
    },
  };
}

interface Try extends AcquireRequest {
  /** The lease that is over by observation, and looks valid to the server. */
  readonly over?: string;
}

interface Owned {
  readonly name: string;
  readonly owner: string;
}

interface Ending extends Owned {
  readonly result: string;
  readonly error: string;
}

function checkOptions(options: RedisOptions): void {
  if (typeof options !== 'object' || options === null) {
    throw new OptionError('redis() takes an object, for example redis({ url: process.env.REDIS_URL }).');
  }
  // A misspelled option would be one that is not heeded.
  const unknown = Object.keys(options).find((key) => !OPTIONS.includes(key));
  if (unknown !== undefined) {
    throw new OptionError(`redis() has no option ${JSON.stringify(unknown)}. What there is: ${OPTIONS.join(', ')}.`);
  }
  checkConnection(options);
  const { prefix } = options;
  if (prefix !== undefined && (typeof prefix !== 'string' || prefix === '' || !prefix.isWellFormed())) {
    throw new OptionError('The prefix of redis() is a string that is not empty.');
  }
  const { settleMs } = options;
  if (settleMs !== undefined && !(typeof settleMs === 'number' && settleMs >= 0 && settleMs <= 2 ** 31 - 1)) {
    throw new OptionError(`settleMs is a number of milliseconds from 0, not ${String(settleMs)}.`);
  }
}

/** A reply that comes by itself is a promise. */
type Replies = readonly unknown[];

function readAll<A>(
  replies: Replies,
  read: (reply: unknown, index: number) => A | Failure | Promise<A>,
): readonly (A | Failure | Promise<A>)[] {
  return replies.map((reply, index) => {
    if (!(reply instanceof Promise)) return read(reply, index);
    return reply.then((late: unknown): A | Promise<A> => {
      const answer = read(late, index);
      if (answer instanceof Failure) throw answer.error;
      return answer;
    });
  });
}

function yesOrNo(reply: unknown): boolean | Failure {
  return typeof reply === 'number' ? reply === 1 : new Failure(refused(reply));
}

function orUndefined(reply: unknown): unknown {
  return reply instanceof Promise ? reply.catch(() => undefined) : reply;
}

/** What the server says of a key that it cannot use, of another type for instance. */
function refused(words: unknown): Error {
  return Object.assign(new Error(String(words)), { answered: true });
}

function unreadable(name: string, error: unknown): string {
  return `the record of ${JSON.stringify(name)} cannot be read: ${(error as Error).message}`;
}

/** Errors of connections that were never made. */
const unsent = new WeakSet<object>();

function unsentError(error: unknown): never {
  unsent.add(error as object);
  throw error;
}

/** Whether a script that failed may have done its work: not if the server says why not, nor if it never reached one. */
function mayHaveRun(error: unknown): boolean {
  if (error instanceof SolorunError || unsent.has(error as object)) return false;
  const { answered, sent } = error as { answered?: boolean; sent?: boolean };
  return answered !== true && sent !== false;
}

/** Questions need not wait for the answers to earlier ones: a connection has them in order. */
function atOnce(job: (means: undefined) => Promise<void>): Promise<void> {
  return job(undefined);
}

/** A pattern that matches this text alone. */
function globLiteral(text: string): string {
  return text.replaceAll(/[*?[\]\\]/g, String.raw`\$&`);
}

function guaranteesOf(link: Link | undefined, listens: boolean, settleMs: number | undefined): Guarantees {
  const evicts = link?.server.evicts;
  return {
    clock: 'server',
    reach: 'fleet',
    expiry: true,
    unbounded: false,
    crash: 'by expiry',
    fence: evicts === undefined ? 'durable' : 'until server crash',
    occurrences: true,
    wakeUp: listens ? 'push' : 'poll',
    minLeaseMs: 100,
    caveats: [
      'Redis answers before its data are safe: a crash (with appendfsync everysec, of about the last second; without persistence, ' +
        'of everything) or a fail-over to a replica, which follows asynchronously, may forget the newest leases, occurrences and ' +
        'records. An occurrence that is forgotten may run again.',
      settlingWords(link, settleMs),
      "Fences are the server's time in µs, or one more than the last: they may only go back if data are lost and its clock is set back as well.",
      "Setting the server's clock forward by two thirds of a lease may end it early: two may hold it until the first one's next renewal, up " +
        'to a third of the lease. If the holder is paused or cut off, more than the margin is enough. Slewing does no harm.',
      ...(evicts === undefined ? [] : [`The server throws away keys when its memory is full (maxmemory-policy ${evicts}).`]),
    ],
  };
}

function settlingWords(link: Link | undefined, settleMs: number | undefined): string {
  if (link?.cluster === true) {
    return (
      'In a cluster, a node that has just taken over may grant a lease that its predecessor granted and it never heard of: two may ' +
      'hold it until the first one ends. Compare fences where that matters.'
    );
  }
  if (settleMs === 0)
    return 'A server that has just been started, or has just taken over, may grant a lease that it has forgotten (settleMs: 0).';
  if (link?.server.told === false) {
    return (
      'The server may not be asked for INFO, so nobody notices that it has just been started, or has just taken over: it may grant a lease ' +
      'that it has forgotten.'
    );
  }
  const howLong = settleMs === undefined ? 'the length of the lease that is asked for' : `${settleMs} ms`;
  return (
    `A server that has just been started, or has just taken over, grants nothing for ${howLong}: longer leases of the same name, which ` +
    'it may have forgotten, are not waited for.'
  );
}
