import { OptionError } from '@solorun/core';
import type { PostgresConnection } from './client.ts';

/** One of the servers that a connection names. */
export interface Host {
  /** For messages: the address, and nothing of the login. */
  readonly name: string;
  /** The connection string that leads to it alone. */
  readonly connection: PostgresConnection;
}

/** Locks are those of the primary, so it is looked for whatever is asked of these. */
const ATTRIBUTES: readonly string[] = ['any', 'read-write', 'primary'];

/**
 * The servers of a connection in libpq's notation, which the driver does not know: `postgres://user@a:5432,b:5433/database`, hosts and
 * ports as parameters of the URL, or `host: 'a,b'`. A connection for each.
 *
 * @throws OptionError without a word of the string; TypeError
 */
export function hostsOf(connection: PostgresConnection): readonly Host[] {
  const { connectionString } = connection;
  if (connectionString === undefined) return hostsOfFields(connection);
  const [, scheme, authority, path, query] = /^(postgres(?:ql)?:\/\/)([^/?#]*)([^?#]*)(?:\?([^#]*))?/i.exec(connectionString) ?? [];
  if (scheme === undefined || authority === undefined) return [{ name: 'the server', connection }];
  const parameters = new URLSearchParams(query);
  const attribute = parameters.get('target_session_attrs');
  if (attribute !== null && !ATTRIBUTES.includes(attribute)) {
    throw new OptionError(
      `target_session_attrs of the connectionString is ${ATTRIBUTES.join(', ')}, for locks are those of the primary; not ${JSON.stringify(attribute)}.`,
    );
  }
  const at = authority.lastIndexOf('@') + 1;
  const [login, list] = [authority.slice(0, at), authority.slice(at)];
  // Where the string names none, the driver takes that of the environment.
  const inherited = list === '' && !parameters.get('host');
  const named = inherited ? (process.env['PGHOST'] ?? null) : parameters.get('host');
  if (!list.includes(',') && named?.includes(',') !== true) return [{ name: named || list || 'the server', connection }];
  parameters.delete('target_session_attrs');
  if (list.includes(',')) {
    return list.split(',').map((name) => {
      if (name === '') throw new TypeError('an empty host');
      return { name, connection: { ...connection, connectionString: `${scheme}${login}${name}${path}?${String(parameters)}` } };
    });
  }
  const ports = parameters.get('port') ?? (inherited ? process.env['PGPORT'] : undefined);
  return pairs(named!.split(','), ports?.split(',') ?? []).map(({ name, host, port }) => {
    parameters.set('host', host);
    if (port !== undefined) parameters.set('port', port);
    return { name, connection: { ...connection, connectionString: `${scheme}${authority}${path}?${String(parameters)}` } };
  });
}

function hostsOfFields(connection: PostgresConnection): readonly Host[] {
  const host = connection.host ?? process.env['PGHOST'] ?? '';
  if (!host.includes(',')) return [{ name: host || 'the server', connection }];
  const ports = connection.port === undefined ? process.env['PGPORT']?.split(',') : [String(connection.port)];
  return pairs(host.split(','), ports ?? []).map(({ name, host: one, port }) => ({
    name,
    connection: { ...connection, host: one, ...(port !== undefined && { port: Number(port) }) },
  }));
}

/** One port for all of them, or one each. */
function pairs(
  hosts: readonly string[],
  ports: readonly string[],
): readonly { readonly name: string; readonly host: string; readonly port: string | undefined }[] {
  if (ports.length > 1 && ports.length !== hosts.length) {
    throw new OptionError(`There are ${hosts.length} hosts and ${ports.length} ports: give one port for all of them, or one each.`);
  }
  return hosts.map((host, index) => {
    if (host === '') throw new TypeError('an empty host');
    const port = ports.length > 1 ? ports[index] : ports[0];
    return { name: port === undefined ? host : `${host}:${port}`, host, port };
  });
}
