import { connect } from 'node:net';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { redisMissing, startRedis, startRedisCluster } from '@solorun/servers/redis';

const missing = redisMissing();
if (missing !== undefined) process.stderr.write(`SKIPPED: Redis. ${missing}\n`);

/** One command, by its line. */
async function ask(port: number, line: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`${line}\r\n`);
  try {
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString();
  } finally {
    socket.destroy();
  }
}

describe.runIf(missing === undefined || process.env['CI'] === 'true')('Redis', () => {
  it('runs on a port of its own, comes back there after a kill without its data, and is gone when it is stopped', async () => {
    const redis = await startRedis();
    expect(await ask(redis.port, 'SET a 1')).toBe('+OK\r\n');
    const before = redis.pid;
    await redis.kill();
    await expect(ask(redis.port, 'PING')).rejects.toThrow('ECONNREFUSED');
    await redis.start();
    expect(redis.pid).not.toBe(before);
    expect(await ask(redis.port, 'GET a')).toBe('$-1\r\n');
    await redis.stop();
    await redis.stop();
    await expect(ask(redis.port, 'PING')).rejects.toThrow('ECONNREFUSED');
    expect(redis.log()).toContain('Ready to accept connections');
    await expect(redis.start()).rejects.toThrow('was stopped');
  });

  it('keeps its data over a kill where it is told to', async () => {
    await using redis = await startRedis({ settings: { appendonly: 'yes', appendfsync: 'always' } });
    await ask(redis.port, 'SET a 1');
    await redis.kill();
    await redis.start();
    expect(await ask(redis.port, 'GET a')).toContain('1');
  });

  it('has replicas that follow it', async () => {
    await using redis = await startRedis();
    await ask(redis.port, 'SET a 1');
    const replica = await redis.replica();
    expect(await ask(replica.port, 'GET a')).toContain('1');
    expect(await ask(replica.port, 'SET a 2')).toMatch(/^-READONLY/);
  });

  it('says what it said when it does not start', async () => {
    await expect(startRedis({ settings: { nonsense: 'yes' } })).rejects.toThrow(/did not start.*nonsense/s);
  });

  it('makes a cluster', async () => {
    const { nodes, stop } = await startRedisCluster();
    try {
      expect(await ask(nodes[0]!.port, 'CLUSTER INFO')).toContain('cluster_state:ok');
    } finally {
      await stop();
    }
  });
});
