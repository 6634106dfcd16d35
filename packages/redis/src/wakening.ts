import { Connector } from '@solorun/core/server';
import type { Connection } from './client.ts';

/** Hears of releases: a channel per name, on a connection that does nothing else. */
export interface Wakening {
  /** Listens for these names from now on, and no longer for others. Resolves when the server does. Rejects if it cannot. */
  listenFor(channels: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

export function createWakening(
  open: () => Promise<Connection>,
  timeoutMs: () => number,
  heard: (channel: string) => void,
  deaf: () => void,
): Wakening {
  let listening = new Set<string>();
  const connector = new Connector<Connection>(
    async () => {
      const connection = await open();
      listening = new Set();
      connection.onMessage(heard);
      connection.lost.addEventListener('abort', deaf, { once: true });
      return connection;
    },
    (connection) => connection.end(),
  );

  return {
    async listenFor(channels) {
      if (channels.length === 0 && connector.current === undefined) return;
      const connection = await connector.get();
      const wanted = new Set(channels);
      const further = channels.filter((channel) => !listening.has(channel));
      const former = [...listening].filter((channel) => !wanted.has(channel));
      if (former.length > 0) {
        for (const channel of former) listening.delete(channel);
        await connection.ask((wire) => wire.unsubscribe(...former), timeoutMs());
      }
      if (further.length > 0) {
        await connection.ask((wire) => wire.subscribe(...further), timeoutMs());
        for (const channel of further) listening.add(channel);
      }
    },
    close: () => connector.close(),
  };
}
