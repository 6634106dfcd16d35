import { postgresMissing, startPostgres, type Postgres } from '@solorun/servers/postgres';
import { redisMissing, startRedis } from '@solorun/servers/redis';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ends, isAlive, solorun } from './cli.ts';

const missing = process.env['CI'] === 'true' ? undefined : postgresMissing();

describe.skipIf(missing !== undefined)(
  `when the backend is terminated${missing === undefined ? '' : `: SKIPPED: ${missing}`}`,
  () => {
    let server: Postgres;
    beforeAll(async () => {
      server = await startPostgres();
    }, 60_000);
    afterAll(() => server.stop());

    /** Ends the sessions that hold locks, as a server's restart or an administrator does. */
    async function terminate(): Promise<void> {
      const client = new pg.Client({ connectionString: server.url });
      await client.connect();
      await client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'solorun%'");
      await client.end();
    }

    it('the command gets SIGTERM, and the status is 76 whatever it makes of it', async () => {
      const program = "trap 'echo terminated; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
      const running = solorun(['run', 'polite', '--store', server.url, '--', 'sh', '-c', program]);
      await running.prints(/ready/);
      await terminate();
      expect(await running.ended).toMatchObject({
        status: 76,
        stdout: 'ready\nterminated\n',
        stderr: expect.stringMatching(/^solorun: Lost "polite" .* Ending the command\.\n/),
      });
    });

    it('and SIGKILL after the grace', async () => {
      // Asked once, although two see to it that it ends.
      const program = "trap 'echo terminated' TERM; echo pid $$; while :; do sleep 0.02; done";
      const terms = ['--store', server.url, '--lease', '3s', '--grace', '900ms'];
      const running = solorun(['run', 'stubborn', ...terms, '--', 'sh', '-c', program]);
      const [, pid] = await running.prints(/pid (\d+)\n/);
      await terminate();
      const { status, stdout } = await running.ended;
      expect({ status, stdout }).toEqual({ status: 76, stdout: `pid ${pid}\nterminated\n` });
      expect(isAlive(Number(pid))).toBe(false);
    });

    it('--on-lost warn lets it run to its end, and the loss is told', async () => {
      const program = 'echo ready; read line; exit "$line"';
      for (const [line, status] of [
        ['0', 76],
        ['3', 3],
      ] as const) {
        const running = solorun(['run', `warned ${line}`, '--store', server.url, '--on-lost', 'warn', '--', 'sh', '-c', program]);
        await running.prints(/ready/);
        await terminate();
        await running.prints(/runs on without the lock/, 'stderr');
        running.write(`${line}\n`);
        expect(await running.ended).toMatchObject({ status });
      }
    });

    it('an occurrence whose lock was lost counts as failed, and can be tried again', async () => {
      const slot = ['--interval', '1d', '--attempts', '2', '--store', server.url];
      const running = solorun(['run', 'again', ...slot, '--', 'sh', '-c', 'echo ready; while :; do sleep 0.02; done']);
      await running.prints(/ready/);
      await terminate();
      expect(await running.ended).toMatchObject({ status: 76 });
      expect(await ends(['run', 'again', ...slot, '--', 'sh', '-c', 'echo $SOLORUN_ATTEMPT'])).toMatchObject({ stdout: '2\n' });
    });

    it('a password in the URL is in no message, and not in the command line that others can read', async () => {
      const url = server.urlFor({ user: 'secretive', password: 'secret' });
      const running = solorun(['run', 'hush', '-v', '--store', url, '--', 'sh', '-c', 'tr "\\0" " " < /proc/$PPID/cmdline; echo']);
      const { status, stdout, stderr } = await running.ended;
      expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringMatching(/^solorun run "hush" *\n$/) });
      expect(stderr).not.toContain('secret@');
      expect(stderr).not.toContain(':secret');
      const wrong = await ends(['run', 'hush', '--store', server.urlFor({ user: 'secretive', password: 'wr0ng' }), '--', 'true']);
      expect(wrong).toMatchObject({ status: 69, stdout: '' });
      expect(wrong.stderr).not.toContain('wr0ng');
    });

    it('PGPASSWORD and PGPASSFILE give the password', async () => {
      const { mkdirSync, writeFileSync } = await import('node:fs');
      const { newDirectory } = await import('./cli.ts');
      const directory = newDirectory();
      mkdirSync(directory);
      writeFileSync(`${directory}/pgpass`, '*:*:*:secretive:secret\n', { mode: 0o600 });
      const store = server.urlFor({ user: 'secretive' }).replace(/:[^:@/]*@/, '@');
      const asked = ['run', 'quiet', '--store', store, '--', 'echo', 'ran'];
      const silent = { status: 0, stdout: 'ran\n', stderr: expect.not.stringContaining('deprecated') as string };
      expect(await ends(asked, { env: { PGPASSFILE: `${directory}/pgpass` } })).toEqual(silent);
      expect(await ends(asked, { env: { PGPASSWORD: 'secret' } })).toMatchObject({ status: 0, stdout: 'ran\n' });
      expect(await ends(asked, { env: { HOME: directory } })).toMatchObject({ status: 69, stdout: '' });
    });
  },
);

const noRedis = process.env['CI'] === 'true' ? undefined : redisMissing();
describe.skipIf(noRedis !== undefined)(
  `when the store is gone by the time the command ends${noRedis === undefined ? '' : `: SKIPPED: ${noRedis}`}`,
  () => {
    it.each([0, 3])('the status is still its own, %s, and that the lock could not be given back is told', async (status) => {
      await using server = await startRedis();
      const store = ['--store', `${server.url}?settle=0s`];
      const running = solorun(['run', 'x', ...store, '--', 'sh', '-c', 'echo ready; read line; exit "$line"']);
      await running.prints(/ready/);
      await server.kill();
      running.write(`${status}\n`);
      expect(await running.ended).toMatchObject({
        status,
        stderr: 'solorun: the store could not be told that "x" is over; it comes free when its lease ends\n',
      });
    });
  },
);
