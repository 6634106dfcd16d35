import { describe, expect, it } from 'vitest';
import { ends, gone, solorun } from './cli.ts';
import { stores } from './stores.ts';

const hostile = [
  '../../etc/passwd',
  `$(reboot) \`id\` && rm -rf / #'; DROP TABLE job; --`,
  'one\ntwo\r\n\tthree\u001b]0;owned\u0007\u001b[2J',
  '👩🏽'.repeat(250),
];

describe.each(stores())('on $kind', ({ kind, missing, url }) => {
  describe.skipIf(missing !== undefined)(`a real store${missing === undefined ? '' : `: SKIPPED: ${missing}`}`, () => {
    const terms = (): string[] => ['--store', url(), '--lease', '5s', '--grace', '100ms'];

    let names = 0;
    const newName = (): string => `${kind} ${(names += 1)}`;

    it('six crontabs fire for one instant: one run, and the others say so with status 75', async () => {
      const name = newName();
      // What all of them were started for, and no other: a day's.
      const line = ['run', name, '--once-per', '0 0 * * *', '--timezone', 'UTC', ...terms(), '--', 'echo', 'ran'];
      const first = ends(line);
      const all = await Promise.all([
        first,
        ...Array.from({ length: 3 }, () => ends(line)),
        first.then(() => ends(line)),
        first.then(() => ends(line)),
      ]);
      expect(all.map(({ status }) => status).sort((a, b) => Number(a) - Number(b))).toEqual([0, 75, 75, 75, 75, 75]);
      expect(all.map(({ stdout }) => stdout).join('')).toBe('ran\n');
    });

    it('fences grow', async () => {
      const name = newName();
      const fences: bigint[] = [];
      for (let i = 0; i < 3; i += 1) {
        const { status, stdout, stderr } = await ends(['run', name, ...terms(), '--', 'sh', '-c', 'echo "$SOLORUN_FENCE"']);
        expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
        fences.push(BigInt(stdout));
      }
      expect(fences[1]! > fences[0]! && fences[2]! > fences[1]!).toBe(true);
    });

    it('a name is a name, whatever it holds', async () => {
      const results = await Promise.all(
        hostile.map(async (name) => {
          const { status, stdout } = await ends(['run', name, ...terms(), '--', 'sh', '-c', 'printf %s "$SOLORUN_NAME"']);
          return { status, same: stdout === name };
        }),
      );
      expect(results).toEqual(hostile.map(() => ({ status: 0, same: true })));
      const { stdout } = await ends(['list', '--store', url(), '--json']);
      expect(JSON.parse(stdout)).toEqual(expect.arrayContaining(hostile));
      // What is shown to people moves no cursor and fakes no line.
      for (const shown of [await ends(['status', '--store', url()]), await ends(['list', '--store', url()])]) {
        expect(shown.status).toBe(0);
        // oxlint-disable-next-line no-control-regex
        expect(shown.stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
      }
    });

    it('when solorun is killed, the command goes and another one can have the lock', async () => {
      const name = newName();
      const killed = solorun(['run', name, ...terms(), '--', 'sh', '-c', 'echo pid $$; while :; do sleep 60; done']);
      const [, pid] = await killed.prints(/pid (\d+)\n/);
      expect(await ends(['run', name, ...terms(), '--', 'true'])).toMatchObject({ status: 75 });
      killed.kill('SIGKILL');
      await gone(Number(pid));
      expect(await ends(['run', name, ...terms(), '--wait', '1m', '--', 'echo', 'next'])).toMatchObject({
        status: 0,
        stdout: 'next\n',
      });
    });

    it('an operator can release a lock, with the fence alone, and the command ends', async () => {
      const name = newName();
      const holder = solorun(['run', name, ...terms(), '--', 'sh', '-c', 'echo fence $SOLORUN_FENCE; while :; do sleep 60; done']);
      const [, fence] = await holder.prints(/fence (\d+)\n/);
      const wrong = await ends(['release', name, '--fence', String(BigInt(fence!) + 1n), '--store', url()]);
      expect(wrong).toMatchObject({ status: 1, stdout: '' });
      // A record of a lock without an occurrence may come a moment later than the lock.
      const release = async (): Promise<number | string> => {
        const { status } = await ends(['release', name, '--fence', fence!, '--store', url()]);
        return status;
      };
      let status = await release();
      while (status !== 0) status = await release();
      expect(await holder.ended).toMatchObject({ status: 76, stderr: expect.stringContaining('Lost') });
      expect(await ends(['run', name, ...terms(), '--', 'echo', 'next'])).toMatchObject({ status: 0, stdout: 'next\n' });
    });
  });
});
