import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { newStore, start, type Ended } from './cli.ts';

const bin = join(import.meta.dirname, '../bin/solorun.js');

/** A line of a shell's, in which `solorun` is ours. */
function shell(line: string): Promise<Ended> {
  const script = `solorun() { "${process.execPath}" "${bin}" "$@"; }; ${line}`;
  return start('sh', ['-c', script], { env: { SOLORUN_STORE: newStore() } }).ended;
}

describe.skipIf(!existsSync('/dev/full'))('on a full disk', () => {
  it('a log that cannot be written stops no command, and hides no status', async () => {
    expect(await shell(`solorun run x -v -- sh -c 'echo ran; exit 7' 2> /dev/full`)).toMatchObject({ status: 7, stdout: 'ran\n' });
    expect(await shell('solorun run x -- no-such-command 2> /dev/full')).toMatchObject({ status: 127 });
  });

  it('an answer that cannot be written is told in a word, with status 1', async () => {
    for (const asked of ['status', 'doctor', '--help']) {
      expect(await shell(`solorun ${asked} > /dev/full`)).toEqual({
        status: 1,
        stdout: '',
        stderr: expect.stringMatching(/^solorun: cannot write to stdout: ENOSPC: .*\n$/) as string,
      });
    }
  });
});

describe('when nobody reads any more', () => {
  it('the command and its status are as they are', async () => {
    expect(await shell('solorun run x -- true; solorun list | true')).toMatchObject({ status: 0, stderr: '' });
    expect(await shell(`solorun run x -v -- sh -c 'exit 7' 2>&-`)).toMatchObject({ status: 7 });
  });
});
