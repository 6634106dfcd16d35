import { ProviderError, UnsupportedError } from '@solorun/core';

/** What a server tells of itself (`INFO`), as far as locks depend on it. */
export interface Server {
  readonly version: string;
  /** How long it has been running, in ms, rounded down; undefined if it does not tell. */
  readonly uptimeMs: number | undefined;
  /** Changes when it starts, and when it takes over from another one. */
  readonly replicationId: string | undefined;
  /** It may have taken over from another one after it was started, so its uptime says nothing. */
  readonly promoted: boolean;
  /** Keys that never expire may be thrown away when memory is short. */
  readonly evicts: string | undefined;
  readonly standby: boolean;
  readonly loading: boolean;
}

const NO_ID = /^0*$/;

/** @param info the text of `INFO`; empty where the role may not ask */
export function parseInfo(info: string): Server {
  const of = new Map(
    info.split(/\r?\n/).map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon), line.slice(colon + 1)] as const;
    }),
  );
  const uptime = of.get('uptime_in_seconds');
  const policy = of.get('maxmemory_policy');
  const limit = of.get('maxmemory');
  return {
    version: of.get('redis_version') ?? 'unknown',
    uptimeMs: uptime === undefined ? undefined : Number(uptime) * 1_000,
    replicationId: of.get('master_replid'),
    promoted: !NO_ID.test(of.get('master_replid2') ?? ''),
    evicts: policy?.startsWith('allkeys-') === true && limit !== '0' ? policy : undefined,
    standby: of.get('role') === 'slave',
    loading: of.get('loading') === '1',
  };
}

/** @throws ProviderError, UnsupportedError for a server on which a lock would not be one */
export function checkServer(kind: string, server: Server, allowEviction: boolean): void {
  if (server.loading) throw new ProviderError(kind, 'lock here', 'the server is still loading its data');
  if (server.standby) {
    throw new ProviderError(
      kind,
      'lock here',
      'the server is a read-only replica: connect to the primary, for example by way of the sentinels ({ client: new Redis({ sentinels, name }) })',
    );
  }
  if (server.evicts !== undefined && !allowEviction) {
    throw new UnsupportedError(
      `${kind}: the server throws away keys when its memory is full (maxmemory-policy ${server.evicts}), locks and fences among them. ` +
        'Set maxmemory-policy to noeviction or one of volatile-*, use another server, or accept it with { allowEviction: true }.',
    );
  }
}
