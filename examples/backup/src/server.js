// @ts-check
// A Postgres of our own, for `--store postgres`: on a free port, with data that go when it stops or this process ends.

/** @returns {Promise<import('@solorun/servers/postgres').Postgres>} */
export async function startServer() {
  // Only now: the other stores need nothing of it.
  const { postgresMissing, startPostgres } = await import('@solorun/servers/postgres');
  const missing = postgresMissing();
  if (missing !== undefined) throw new Error(`${missing} Or give a server of yours: --store postgres://user@host/database`);
  return startPostgres();
}
