import { ProviderError, UnsupportedError } from '@solorun/core';

/** The part of `INFO`, what a server says of itself, that locks depend on. */
export interface Server {
  readonly version: string;
  /** It may be asked at all; otherwise nothing of the rest is known. */
  readonly told: boolean;
  /** Changes when it starts, and when it takes over from a server that it followed. */
  readonly term: string | undefined;
  /** For how long its main thread has computed since it was started, in ms; 0 if that may have been as a follower, or is not told. */
  readonly computedMs: number;
  /** It is a node of a Redis Cluster. */
  readonly clustered: boolean;
  /** Keys that never expire may be thrown away when memory is short. */
  readonly evicts: string | undefined;
  readonly standby: boolean;
  readonly loading: boolean;
}

const NO_ID = /^0*$/;

/** @param info the text of `INFO`; empty where it may not be asked */
export function parseInfo(info: string): Server {
  const of = infoFields(info);
  const runId = of.get('run_id');
  // A server that has taken over remembers whom it followed.
  const followed = !NO_ID.test(of.get('master_replid2') ?? '');
  const computed = Number(of.get('used_cpu_user_main_thread') ?? 0) + Number(of.get('used_cpu_sys_main_thread') ?? 0);
  const policy = of.get('maxmemory_policy');
  const limit = of.get('maxmemory');
  return {
    version: of.get('redis_version') ?? 'unknown',
    told: info !== '',
    // It also takes another replication id when it gets its first replica, or has had none for an hour; nothing is forgotten then.
    term: runId === undefined || !followed ? runId : `${runId} ${of.get('master_replid')}`,
    computedMs: followed || !Number.isFinite(computed) ? 0 : computed * 1_000,
    clustered: of.get('cluster_enabled') === '1',
    evicts: policy?.startsWith('allkeys-') === true && limit !== '0' ? policy : undefined,
    standby: of.get('role') === 'slave',
    loading: of.get('loading') === '1',
  };
}

/** @param info the text of `INFO`: a field per line */
export function infoFields(info: string): ReadonlyMap<string, string> {
  return new Map(
    info.split(/\r?\n/).map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon), line.slice(colon + 1)] as const;
    }),
  );
}

/**
 * Over how many primaries the keys of a cluster are spread.
 *
 * @param info the text of `CLUSTER INFO`; empty where it may not be asked, and then it may be one
 */
export function clusterSize(info: string): number {
  return Number(/^cluster_size:(\d+)/m.exec(info)?.[1] ?? 1);
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
