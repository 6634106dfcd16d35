// @ts-check

/** @import { Mutant } from '../mutant.js' */

/** @param {string} file @param {string} test */
const by = (file, test) => ({ project: 'cli', file: `test/${file}.test.ts`, test });

/** @type {readonly Mutant[]} */
export const cli = [
  {
    name: 'does not tell the guard what to end',
    package: 'cli',
    file: 'src/guard.ts',
    from: 'pipe.write(`${ownGroup ? -pid : pid}\\n`);',
    to: '',
    caughtBy: by('guard', 'the command and its process group are ended'),
  },
  {
    name: 'starts the command without tying it to solorun',
    package: 'cli',
    file: 'src/command.ts',
    from: '[...tiedToUs(env), ...command]',
    to: 'command',
    caughtBy: by('guard', 'the command is ended by the kernel where there is no kill(1)'),
  },
  {
    name: 'lets the warden go quietly when solorun is gone',
    package: 'cli',
    file: 'src/warden.ts',
    from: "process.stdin.on('end', () => orphaned());",
    to: "process.stdin.on('end', () => process.exit(0));",
    caughtBy: by('guard', 'SIGKILL ends the command and all that it started'),
  },
  {
    name: 'trusts the lock for so long that there is no time left to end the command in',
    package: 'cli',
    file: 'src/grace.ts',
    from: 'return lostGraceOf(terms) + slackMs(terms.leaseMs);',
    to: 'return slackMs(terms.leaseMs);',
    caughtBy: by('command', 'SIGSTOP to solorun: the command is gone before anybody else can run it'),
  },
  {
    name: 'names an instant before the change of the clock for a time that was skipped',
    package: 'cli',
    file: 'src/cron.ts',
    from: 'return new Date(Math.max(at, local - offset));',
    to: 'return new Date(local - offset);',
    caughtBy: by('cron', 'the instants of a cron expression in nights in which the clock is changed'),
  },
  {
    name: 'catches up with a day that a corrected clock left out',
    package: 'cli',
    file: 'src/cron.ts',
    from: '(follows || Math.abs(offset - before) >= CORRECTION_MS ? offset : before)',
    to: '(follows ? offset : before)',
    caughtBy: by('cron', 'a day that Samoa left out is not caught up with'),
  },
];
