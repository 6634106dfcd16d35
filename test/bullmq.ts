import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { postgresMissing, startPostgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis } from '@solorun/servers/redis';
import { createPostgresBackend, Queue, Worker, type WorkerOptions } from 'bullmq';
import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { killAll, start, type JsonProcess, type Said } from './json-process.ts';

export interface Stage {
  /** BullMQ's, for programs. */
  readonly backend: () => string;
  /** Where locks are kept, for programs: on the same server. */
  readonly store: () => string;
  readonly queue: () => Queue;
  /** A worker in this process. */
  readonly worker: (queue: Queue, processor: string, options?: Partial<WorkerOptions>) => Worker;
  /** A process with workers. */
  readonly fellow: (label: string) => Fellow;
}

export interface Fellow extends JsonProcess {
  readonly label: string;
  readonly order: (order: object) => void;
  /** What its jobs have said. */
  readonly runs: () => Run[];
}

export interface Run {
  readonly by: string;
  readonly lock: string;
  readonly job: string;
  readonly from: number;
  readonly to: number;
  readonly fence: number;
  readonly aborted: string | undefined;
}

interface Server {
  readonly url: string;
  readonly store: string;
  stop(): Promise<void>;
}

const kinds = [
  { backend: 'Redis', missing: redisMissing(), open: onRedis },
  { backend: 'Postgres', missing: postgresMissing(), open: onPostgres },
] as const;

/** The tests of a suite on each of BullMQ's backends. A server that is missing is told of, and must be there in CI. */
export function onEachBackend(what: string, tests: (stage: Stage) => void): void {
  for (const { backend, missing, open } of kinds) {
    if (missing !== undefined) process.stderr.write(`SKIPPED: ${what} on ${backend}. ${missing}\n`);
    describe.runIf(missing === undefined || process.env['CI'] === 'true')(`${what}, on ${backend}`, () => {
      let server: Server;
      const closing: (() => Promise<void>)[] = [];
      beforeAll(async () => {
        server = await open();
      });
      afterEach(async () => {
        killAll();
        for (const close of closing.splice(0).toReversed()) await close();
      });
      afterAll(() => server?.stop());

      const connection = (): object => connectionTo(server.url);
      // Typed by their backend, and here it may be either.
      const factory = (): undefined => (backend === 'Postgres' ? createPostgresBackend : undefined) as undefined;
      tests({
        backend: () => server.url,
        store: () => server.store,
        queue() {
          const queue: Queue = new Queue(`q-${randomUUID()}`, { connection: connection() }, factory());
          queue.on('error', () => {});
          closing.push(() => queue.close());
          return queue;
        },
        worker(queue, processor, options = {}) {
          const all = { connection: connection(), drainDelay: 1, ...options };
          const worker: Worker = new Worker(queue.name, processor, all, factory());
          worker.on('error', () => {});
          closing.push(() => worker.close());
          return worker;
        },
        fellow(label) {
          const child = start(new URL('programs/bullmq.js', import.meta.url), [label, server.url, server.store]);
          return {
            ...child,
            label,
            order: (order) => child.write(JSON.stringify(order)),
            runs: () => child.said.filter((line) => 'ran' in line).map((line) => runBy(label, line)),
          };
        },
      });
    });
  }
}

function runBy(by: string, line: Said): Run {
  const { ran, job, from, to, fence, aborted } = line as Record<string, never>;
  return { by, lock: ran!, job: job!, from: from!, to: to!, fence: Number(fence), aborted };
}

function connectionTo(url: string): object {
  if (url.startsWith('postgresql:')) return { connectionString: url, max: 4 };
  return { host: '127.0.0.1', port: Number(new URL(url).port), maxRetriesPerRequest: null };
}

async function onRedis(): Promise<Server> {
  const server = await startRedis();
  return { url: server.url, store: `${server.url}?settleMs=0`, stop: () => server.stop() };
}

async function onPostgres(): Promise<Server> {
  const server = await startPostgres();
  const migrated = new Queue('migrated', { connection: { connectionString: server.url, migrate: true } }, createPostgresBackend);
  await migrated.waitUntilReady();
  await migrated.close();
  return { url: server.url, store: server.url.replace('postgresql:', 'postgres:'), stop: () => server.stop() };
}

/** A lock directory that goes after the tests, for programs. */
export function lockDirectory(): () => URL {
  let directory = '';
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'solorun-bullmq-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return () => pathToFileURL(directory);
}

/** Pairs of runs of one lock that were there at the same time. */
export function overlaps(runs: readonly Run[]): [Run, Run][] {
  const found: [Run, Run][] = [];
  for (const one of runs) {
    for (const other of runs) {
      if (one !== other && one.lock === other.lock && one.from <= other.from && other.from < one.to) found.push([one, other]);
    }
  }
  return found;
}
