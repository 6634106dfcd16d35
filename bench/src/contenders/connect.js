// @ts-check

import pg from 'pg';

/**
 * @param {string} url
 * @param {pg.ClientConfig} [options]
 */
export async function connect(url, options = {}) {
  const client = new pg.Client({ connectionString: url, ...options });
  // Told by the next query.
  client.on('error', () => {});
  await client.connect();
  return client;
}
