// @ts-check
// Networks that can be cut: a proxy, which needs nothing, and a network namespace, where it is the kernel that drops the packets.

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { command } from './binaries.js';
import { guard } from './guard.js';
import { freePort } from './port.js';

/** @import { Socket } from 'node:net' */

/**
 * Up is what clients send to the server, down is what it sends to them. A cut of `down` alone is how an answer gets lost.
 *
 * @typedef {'up' | 'down'} Direction
 */

/**
 * @typedef {object} Proxy
 * @property {number} port On 127.0.0.1.
 * @property {(url: string) => string} through The URL of a server, by way of the proxy.
 * @property {number} connections How many were opened so far.
 * @property {number} open How many are open now, on the clients' side.
 * @property {Readonly<Record<Direction, number>>} chunks How many pieces came from clients and from the server.
 * @property {number} roundTrips How often clients sent something after the server had had the last word.
 * @property {(direction?: Direction) => void} cut Nothing arrives from now on, in one or both directions, and nobody is told: sockets stay
 *   open, new ones are accepted. What is sent meanwhile arrives after `mend()`, as TCP sends it again; so does an end of a connection.
 * @property {() => void} mend
 * @property {() => void} breakAll Resets every connection, on both sides at once.
 * @property {(ms: number) => void} delay How long everything sent from now on is under way, in each direction.
 * @property {(bytesPerMs: number) => void} pace How much gets to the server in a millisecond, over all connections: one that is too slow for
 *   what is asked of it, and answers all the same. 0: at once.
 * @property {() => Promise<void>} stop
 */

const PACE_MS = 10;

/**
 * Starts a proxy in front of a server.
 *
 * @param {{ port: number, host?: string }} server
 * @returns {Promise<Proxy & AsyncDisposable>}
 */
export async function startProxy({ port: serverPort, host = '127.0.0.1' }) {
  /** @type {Set<Socket>} */
  const sockets = new Set();
  const chunks = { up: 0, down: 0 };
  let connections = 0;
  let open = 0;
  let roundTrips = 0;
  let delayMs = 0;
  let bytesPerMs = 0;
  /** @type {Promise<unknown>} */
  let paced = Promise.resolve();
  /** @type {Record<Direction, ReturnType<typeof barrier> | undefined>} */
  const cuts = { up: undefined, down: undefined };

  /** @param {Socket} socket */
  const keep = (socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.once('close', () => sockets.delete(socket));
  };

  const server = createServer({ allowHalfOpen: true }, (client) => {
    connections += 1;
    open += 1;
    client.once('close', () => {
      open -= 1;
    });
    keep(client);
    let lastWord = /** @type {Direction} */ ('down');
    // A connection is opened by a packet that goes up.
    const reached = pass('up').then(() => {
      // Broken before it got there.
      if (client.destroyed) return client;
      const upstream = connect({ port: serverPort, host, allowHalfOpen: true });
      keep(upstream);
      carry(upstream, 'down', Promise.resolve(client));
      return upstream;
    });
    carry(client, 'up', reached);

    /**
     * Brings what comes from a socket to the other one, in order.
     *
     * @param {Socket} from
     * @param {Direction} direction
     * @param {Promise<Socket>} to
     */
    function carry(from, direction, to) {
      let before = /** @type {Promise<unknown>} */ (to);
      /** @param {(socket: Socket) => unknown} act */
      const next = (act) => {
        const passed = pass(direction);
        before = before
          .then(() => passed)
          .then(() => pass(direction, 0))
          .then(() => to)
          .then(act);
      };
      from.on('data', (chunk) => {
        chunks[direction] += 1;
        if (direction === 'up' && lastWord === 'down') roundTrips += 1;
        lastWord = direction;
        const slices = direction === 'up' && bytesPerMs > 0 ? sliced(chunk) : [chunk];
        for (const slice of slices) {
          if (direction === 'up') next(() => pacing(slice.length));
          next((socket) => void (socket.writable && socket.write(slice)));
        }
      });
      from.once('end', () => next((socket) => void (socket.writable && socket.end())));
      // What goes without an end was reset. The reset follows what was sent before it, and finds its socket closed after a regular end.
      from.once('error', () => {});
      from.once('close', () => next((socket) => void (from.readableEnded || socket.resetAndDestroy())));
    }
  });

  /**
   * What passes within some milliseconds each.
   *
   * @param {Buffer} chunk
   */
  const sliced = (chunk) => {
    const size = Math.ceil(bytesPerMs * PACE_MS);
    return Array.from({ length: Math.ceil(chunk.length / size) }, (_, n) => chunk.subarray(n * size, (n + 1) * size));
  };

  /**
   * Waits for the turn of so many bytes, after all that came before.
   *
   * @param {number} bytes
   */
  const pacing = (bytes) => {
    if (bytesPerMs === 0) return;
    paced = paced.then(() => (bytesPerMs === 0 ? undefined : sleep(bytes / bytesPerMs)));
    return paced;
  };

  /**
   * Resolves when what is sent now arrives.
   *
   * @param {Direction} direction
   */
  const pass = async (direction, ms = delayMs) => {
    if (ms > 0) await sleep(ms);
    while (cuts[direction] !== undefined) await cuts[direction].opened;
  };
  const mend = () => {
    for (const direction of /** @type {const} */ (['up', 'down'])) {
      cuts[direction]?.open();
      cuts[direction] = undefined;
    }
  };
  const breakAll = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };

  const port = await freePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');

  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    const closed = once(server, 'close');
    server.close();
    breakAll();
    await closed;
  };

  return {
    port,
    through(url) {
      const changed = new URL(url);
      changed.hostname = '127.0.0.1';
      changed.port = String(port);
      return changed.href;
    },
    get connections() {
      return connections;
    },
    get open() {
      return open;
    },
    get chunks() {
      return { ...chunks };
    },
    get roundTrips() {
      return roundTrips;
    },
    cut(direction) {
      for (const each of direction === undefined ? /** @type {const} */ (['up', 'down']) : [direction]) cuts[each] ??= barrier();
    },
    mend,
    breakAll,
    delay(ms) {
      delayMs = ms;
    },
    pace(bytes) {
      bytesPerMs = bytes;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function barrier() {
  let open = () => {};
  const opened = /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      open = resolve;
    })
  );
  return { opened, open };
}

/**
 * A network of its own, joined to this one by one cable.
 *
 * @typedef {object} Namespace
 * @property {readonly [string, ...string[]]} command What to put before a command so that it runs inside.
 * @property {string} hostAddress Where servers out here are reached from inside, if they listen there (`listen_addresses: '*'`).
 * @property {string} address Its own.
 * @property {(direction?: Direction) => void} cut Drops all packets, or only those that leave (`up`) or enter (`down`) it.
 * @property {(act: () => Promise<void>) => Promise<void>} reset What `act` ends out here ends as when a machine is reset: nothing enters
 *   meanwhile, and afterwards no end (FIN) of a connection until `mend()`; the rest does.
 * @property {() => void} mend
 * @property {() => void} remove Twice is quiet. What runs inside goes on, without a network.
 */

let namespaces = 0;

/**
 * Why there can be no network namespace here, and the remedy; undefined when there can.
 *
 * @returns {string | undefined}
 */
export function networkNamespaceMissing() {
  if (process.platform !== 'linux') return 'Network namespaces are a thing of Linux. Remedy: run this on Linux.';
  if (process.getuid?.() !== 0) return 'A network namespace takes root. Remedy: run this as root.';
  for (const [program, pack] of /** @type {const} */ ([
    ['ip', 'iproute2'],
    ['iptables', 'iptables'],
  ])) {
    const { error } = spawnSync(program, ['-V'], { stdio: 'ignore' });
    if (error !== undefined) return `${program} is not installed. Remedy: apt-get install ${pack}`;
  }
  try {
    networkNamespace().remove();
    return undefined;
  } catch (error) {
    return `The kernel refuses a network namespace: ${String(error)} Remedy: run this with CAP_SYS_ADMIN and CAP_NET_ADMIN.`;
  }
}

/**
 * Makes a network namespace. Throws where that cannot be; ask `networkNamespaceMissing()` before.
 *
 * @returns {Namespace & Disposable}
 */
export function networkNamespace() {
  namespaces += 1;
  const unique = `${process.pid.toString(36)}${namespaces.toString(36)}`;
  const name = `solorun-${unique}`;
  // Names of interfaces have at most 15 characters.
  const [outside, inside] = [`srh${unique}`, `srn${unique}`];
  const subnet = `10.${200 + Math.floor(Math.random() * 50)}.${Math.floor(Math.random() * 256)}`;
  const [hostAddress, address] = [`${subnet}.1`, `${subnet}.2`];
  const forget = [guard({ command: ['ip', 'link', 'delete', outside] }), guard({ command: ['ip', 'netns', 'delete', name] })];
  let removed = false;
  const remove = () => {
    if (removed) return;
    removed = true;
    // The cable by itself: a process inside would keep it there.
    spawnSync('ip', ['link', 'delete', outside], { stdio: 'ignore' });
    spawnSync('ip', ['netns', 'delete', name], { stdio: 'ignore' });
    for (const each of forget) each();
  };
  /** @param {string} args */
  const iptables = (args) => command('ip', ['netns', 'exec', name, 'iptables', '-w', ...args.split(' ')]);
  const mend = () => iptables('-F');
  try {
    for (const args of [
      `netns add ${name}`,
      `link add ${outside} type veth peer name ${inside} netns ${name}`,
      `address add ${hostAddress}/30 dev ${outside}`,
      `link set ${outside} up`,
      `-n ${name} address add ${address}/30 dev ${inside}`,
      `-n ${name} link set ${inside} up`,
      `-n ${name} link set lo up`,
    ]) {
      command('ip', args.split(' '));
    }
    mend();
  } catch (error) {
    remove();
    throw error;
  }
  return {
    command: ['ip', 'netns', 'exec', name],
    hostAddress,
    address,
    cut(direction) {
      if (direction !== 'up') iptables(`-I INPUT -i ${inside} -j DROP`);
      if (direction !== 'down') iptables(`-I OUTPUT -o ${inside} -j DROP`);
    },
    async reset(act) {
      // An end is sent again and again; what resets a connection is sent once, or as the answer to something.
      iptables(`-I INPUT -i ${inside} -p tcp --tcp-flags FIN FIN -j DROP`);
      iptables(`-I INPUT -i ${inside} -m comment --comment reset -j DROP`);
      await act();
      iptables(`-D INPUT -i ${inside} -m comment --comment reset -j DROP`);
    },
    mend,
    remove,
    [Symbol.dispose]: remove,
  };
}
