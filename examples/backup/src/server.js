// @ts-check
// A server of our own, for `--store postgres` and the like: on a free port, with data that go when it stops or this process ends.

/**
 * @param {'postgres' | 'postgres+lease' | 'redis'} kind
 * @returns {Promise<{ readonly url: string, readonly words: string, readonly stop: () => Promise<void> }>}
 */
export async function startServer(kind) {
  // Only now: the other stores need nothing of it.
  if (kind === 'redis') {
    const { redisMissing, startRedis } = await import('@solorun/servers/redis');
    const missing = redisMissing();
    if (missing !== undefined) throw new Error(`${missing} Or give a server of yours: --store redis://host`);
    const { url, stop } = await startRedis();
    return { url, words: 'a Redis of its own', stop };
  }
  const { postgresMissing, startPostgres } = await import('@solorun/servers/postgres');
  const missing = postgresMissing();
  if (missing !== undefined) throw new Error(`${missing} Or give a server of yours: --store postgres://user@host/database`);
  const { url, version, stop } = await startPostgres();
  return { url, words: `a Postgres ${version} of its own`, stop };
}
