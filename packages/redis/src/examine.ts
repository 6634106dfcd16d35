import type { Finding } from '@solorun/core';
import { unlessAborted, unreachable } from '@solorun/core/server';
import { connect, type Connection } from './client.ts';
import { untold } from './link.ts';
import type { ConnectionOptions } from './options.ts';
import { infoFields, parseInfo } from './server.ts';

/** How long a server may take to answer, in ms. */
const TIMEOUT_MS = 5_000;

const UNTOLD: Finding = {
  check: 'server',
  state: 'note',
  says: 'this role may not ask (INFO): whether it is a master, and what it forgets, is not known',
};

/** Asks the server for the facts that locks depend on; in a cluster, each primary. */
export async function examine(options: ConnectionOptions, signal?: AbortSignal): Promise<readonly Finding[]> {
  signal?.throwIfAborted();
  const connecting = connect(options, TIMEOUT_MS);
  try {
    return await unlessAborted(connecting.then(look), signal);
  } catch (error) {
    signal?.throwIfAborted();
    return [unreachable(error)];
  } finally {
    connecting.then(
      (connection) => connection.end(),
      () => {},
    );
  }
}

async function look(connection: Connection): Promise<readonly Finding[]> {
  const servers = connection.servers();
  try {
    const infos = await Promise.all(servers.map((server) => connection.ask(() => server.info(), TIMEOUT_MS).catch(untold)));
    connection.lost.throwIfAborted();
    const [only] = infos;
    if (only !== undefined && infos.length === 1) return aboutServer(only);
    return infos.flatMap((info, index) => {
      const { host, port } = servers[index]!.options ?? {};
      return aboutServer(info).map((finding) => ({ ...finding, check: `${finding.check} of ${host}:${port}` }));
    });
  } catch (error) {
    // Trouble with the first words (a password, a database) ends the connection, and is known by the first answer.
    throw connection.lost.aborted ? connection.lost.reason : error;
  }
}

function aboutServer(info: string): readonly Finding[] {
  if (info === '') return [UNTOLD];
  const fields = infoFields(info);
  const field = (name: string): string => fields.get(name) ?? '';
  const { evicts } = parseInfo(info);
  const replicas = Number(field('connected_slaves'));
  return [
    { check: 'server', state: 'ok', says: `Redis ${field('redis_version')}` },
    field('role') === 'master'
      ? { check: 'role', state: 'ok', says: `a master, ${replicas} replicas` }
      : { check: 'role', state: 'unsafe', says: 'a replica: connect to the master' },
    field('aof_enabled') === '1'
      ? { check: 'persistence', state: 'ok', says: 'append-only file' }
      : {
          check: 'persistence',
          state: 'note',
          says: 'no append-only file: a crash forgets occurrences and fences. Set appendonly yes',
        },
    evicts === undefined
      ? { check: 'memory', state: 'ok', says: 'keys are not evicted' }
      : { check: 'memory', state: 'unsafe', says: `maxmemory-policy is ${evicts}: locks may be thrown away. Set noeviction` },
  ];
}
