import { postgresMissing, startPostgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis } from '@solorun/servers/redis';
import { afterAll, beforeAll } from 'vitest';
import { newStore } from './cli.ts';

/** A store on which the tests are repeated. */
export interface TestedStore {
  readonly kind: string;
  /** Why it is not here; told by name. */
  readonly missing: string | undefined;
  /** The server's, which all tests of a file share; their names keep them apart. */
  readonly url: () => string;
}

/** Without what a machine of ours lacks; CI has everything, and fails. */
function unlessCi(missing: string | undefined): string | undefined {
  return process.env['CI'] === 'true' ? undefined : missing;
}

/** Servers for the tests of this file. */
export function stores(): readonly TestedStore[] {
  const file = newStore();
  const postgres = server(unlessCi(postgresMissing()), startPostgres);
  const redis = server(unlessCi(redisMissing()), startRedis);
  return [
    { kind: 'file:', missing: undefined, url: () => file },
    { kind: 'postgres://', ...postgres },
    {
      kind: 'postgres+lease://',
      missing: postgres.missing,
      url: () => postgres.url().replace(/^postgres(?:ql)?/, 'postgres+lease'),
    },
    // Just started, and sure to have forgotten nothing.
    { kind: 'redis://', missing: redis.missing, url: () => `${redis.url()}?settle=0s` },
  ];
}

function server(
  missing: string | undefined,
  launch: () => Promise<{ url: string; stop(): Promise<void> }>,
): Pick<TestedStore, 'missing' | 'url'> {
  let running: { url: string; stop(): Promise<void> } | undefined;
  beforeAll(async () => {
    if (missing === undefined) running = await launch();
  }, 60_000);
  afterAll(() => running?.stop());
  return { missing, url: () => running!.url };
}
