import { randomUUID } from 'node:crypto';
import { postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis, type Redis } from '@solorun/servers/redis';
import { createPostgresBackend, Queue, Worker, type Job, type Processor, type WorkerOptions } from 'bullmq';
import { Redis as RedisClient } from 'ioredis';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe } from 'vitest';

export interface Stage {
  readonly backend: 'Redis' | 'Postgres';
  /** A queue of its own, and workers on it. All are closed after the test. */
  readonly queue: () => Line;
}

export interface Line {
  readonly queue: Queue;
  readonly worker: (processor: Processor | string | null, options?: Partial<WorkerOptions>) => Worker;
  /** Gives BullMQ's lock on an active job to somebody else. */
  readonly stealLock: (job: Job) => Promise<void>;
}

interface Server {
  connection(): object;
  factory: typeof createPostgresBackend | undefined;
  stealLock(queue: Queue, id: string): Promise<void>;
  stop(): Promise<void>;
}

const kinds = [
  { backend: 'Redis', missing: redisMissing(), open: () => startRedis().then(onRedis) },
  { backend: 'Postgres', missing: postgresMissing(), open: () => startPostgres().then(onPostgres) },
] as const;

/** The tests of a suite on each of BullMQ's backends. A server that is missing is told of, and must be there in CI. */
export function onEachBackend(what: string, tests: (stage: Stage) => void): void {
  for (const { backend, missing, open } of kinds) {
    if (missing !== undefined) process.stderr.write(`SKIPPED: ${what} on ${backend}. ${missing}\n`);
    describe.runIf(missing === undefined || process.env['CI'] === 'true')(`on ${backend}`, () => {
      let server: Server;
      const closing: (() => Promise<void>)[] = [];
      beforeAll(async () => {
        server = await open();
      });
      afterEach(async () => {
        for (const close of closing.splice(0).toReversed()) await close();
      });
      afterAll(() => server?.stop());

      tests({
        backend,
        queue() {
          const name = `q-${randomUUID()}`;
          const { factory } = server;
          // The classes are typed by their backend, and what is tested here is that it does not matter.
          const queue: Queue = new Queue(name, { connection: server.connection() }, factory as undefined);
          queue.on('error', () => {});
          closing.push(() => queue.close());
          return {
            queue,
            worker(processor, options = {}) {
              const all = { connection: server.connection(), drainDelay: 1, ...options };
              const worker: Worker = new Worker(name, processor, all, factory as undefined);
              worker.on('error', () => {});
              closing.push(() => worker.close());
              return worker;
            },
            stealLock: (job) => server.stealLock(queue, job.id!),
          };
        },
      });
    });
  }
}

function onRedis(server: Redis): Server {
  return {
    connection: () => ({ host: '127.0.0.1', port: server.port, maxRetriesPerRequest: null }),
    factory: undefined,
    async stealLock(queue, id) {
      const client = new RedisClient(server.url);
      await client.set(queue.toKey(`${id}:lock`), 'thief');
      await client.quit();
    },
    stop: () => server.stop(),
  };
}

async function onPostgres(server: Postgres): Promise<Server> {
  const migrated = new Queue('migrated', { connection: { connectionString: server.url, migrate: true } }, createPostgresBackend);
  await migrated.waitUntilReady();
  await migrated.close();
  return {
    connection: () => ({ connectionString: server.url, max: 4 }),
    factory: createPostgresBackend,
    async stealLock(queue, id) {
      const client = new pg.Client({ connectionString: server.url });
      await client.connect();
      await client.query(`UPDATE bullmq.job SET lock_token = 'thief' WHERE queue = $1 AND id = $2`, [queue.name, id]);
      await client.end();
    },
    async stop() {
      // A connection that BullMQ is still closing has nobody who would hear how it ends.
      for (let looks = 0; looks < 100 && (await others()) > 0; looks += 1) await new Promise((next) => setTimeout(next, 50));
      await server.stop();
    },
  };

  async function others(): Promise<number> {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    const { rows } = await client.query(
      `SELECT count(*)::int AS n FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    );
    await client.end();
    return (rows as { n: number }[])[0]!.n;
  }
}

/** The job once it is in this state. */
export async function reaches(queue: Queue, id: string | undefined, state: string): Promise<Job> {
  // First the state: the job that is read before it may be older.
  return until(`job ${id} is ${state}`, async () => ((await queue.getJobState(id!)) === state ? queue.getJob(id!) : undefined));
}

/** Looks until there is something to see. */
export async function until<T>(what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (const end = performance.now() + 15_000; performance.now() < end; await new Promise((next) => setTimeout(next, 10))) {
    const seen = await look();
    if (seen !== undefined) return seen;
  }
  throw new Error(`it never came to pass that ${what}`);
}
