import { createSolo } from '@solorun/core';
import { installedVersions } from '@solorun/servers/postgres';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postgresAdvisory } from '../src/index.ts';
import { acquired, never, onPostgres } from './server.ts';

describe.runIf(installedVersions().includes(13))('Postgres 13', () => {
  const stage = onPostgres({ version: 13 });

  it('works, with a warning that names what is missing, and explain() says what follows', async () => {
    const heard: string[] = [];
    const provider = postgresAdvisory({ connectionString: stage.server.url, onWarning: (message) => void heard.push(message) });
    const solo = createSolo({ provider, leaseMs: 10_000 });
    onTestFinished(() => solo.close());
    expect((await solo.run('x', () => 1, { occurrence: new Date(0) })).status).toBe('ran');
    expect((await solo.run('x', () => 1, { leaseMs: null })).status).toBe('ran');
    expect(heard).toHaveLength(1);
    expect(heard[0]).toMatch(/older than Postgres 14.*idle_session_timeout.*paused holder keeps its lock/);
    expect(solo.explain().failoverMs.pausedOrCutOff).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('fences', () => {
  const stage = onPostgres({ settings: { synchronous_commit: 'off' } });

  it(
    'begin with small numbers, and leap ahead when a crash of the server may have taken some back',
    { timeout: 30_000 },
    async () => {
      const provider = stage.open(postgresAdvisory({ connectionString: stage.server.url }));
      let last = 0n;
      for (let n = 0; n < 100; n += 1) {
        const grant = await acquired(provider, 'fence');
        expect(grant.fence).toBeGreaterThan(last);
        last = grant.fence;
        await provider.release(grant, { result: 'done' }, never);
      }
      expect(last).toBeLessThan(200n);
      await stage.server.restart();
      const afterRestart = await acquired(stage.open(postgresAdvisory({ connectionString: stage.server.url })), 'fence');
      expect(afterRestart.fence).toBeLessThan(last + 64n);
      await stage.server.kill();
      await stage.server.start();
      const afterCrash = await acquired(stage.open(postgresAdvisory({ connectionString: stage.server.url, settleMs: 0 })), 'fence');
      expect(afterCrash.fence).toBeGreaterThan(2n ** 32n);
    },
  );
});
