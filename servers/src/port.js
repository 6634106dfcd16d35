// @ts-check

import { once } from 'node:events';
import { createServer } from 'node:net';
import { codeOf } from './processes.js';

/**
 * A port of 127.0.0.1 that nobody has. From below those that the kernel gives to outgoing connections, so that it is still free when a
 * server that was killed comes back to it.
 *
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (let attempt = 1; ; attempt += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    try {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      server.close();
      await once(server, 'close');
      return port;
    } catch (error) {
      if (codeOf(error) !== 'EADDRINUSE' || attempt === 50) throw error;
    }
  }
}
