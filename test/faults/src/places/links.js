// @ts-check
// A way of its own to a server for each replica, so that one of them can be cut off.

import { networkNamespace, startProxy } from '@solorun/servers/network';

/** @import { Link, PlaceOptions } from '../places.js' */

/**
 * @param {PlaceOptions} options
 * @param {number} port The server's.
 * @param {(where: { host: string, port: number }) => string} storeAt
 * @returns {Promise<{ links: readonly Link[], end: () => Promise<void> }>}
 */
export async function linksTo({ replicas, needs }, port, storeAt) {
  if (needs === 'namespaces') {
    const spaces = Array.from({ length: replicas }, () => networkNamespace());
    return {
      links: spaces.map((space) => ({ store: storeAt({ host: space.hostAddress, port }), within: space.command, network: space })),
      end: async () => {
        for (const space of spaces) space.remove();
      },
    };
  }
  const proxies = await Promise.all(Array.from({ length: replicas }, () => startProxy({ port })));
  return {
    links: proxies.map((proxy) => ({ store: storeAt({ host: '127.0.0.1', port: proxy.port }), network: proxy })),
    end: async () => {
      await Promise.all(proxies.map((proxy) => proxy.stop()));
    },
  };
}
