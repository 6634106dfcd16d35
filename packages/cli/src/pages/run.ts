import { Option } from 'commander';
import { exits } from '../exit.ts';
import { namespaceOption, storeOption, type CommandPage } from './page.ts';

export const runPage: CommandPage = {
  verb: 'run',
  usage: '<name> [options] -- <command…>',
  about:
    "Runs the command while it holds the lock of this name, and passes on its exit status. With a schedule (--once-per, --interval) it also claims the scheduled time that has come last, which is called an occurrence: each is run once over all machines. No shell is involved, and stdout is the command's alone.",
  argument: ['[name]', 'of the lock: any text'],
  examples: [
    { says: 'Skip if it runs already, here or elsewhere (exit status 75)', types: 'solorun run reindex -- ./reindex.sh' },
    { says: 'Wait up to ten minutes for the lock', types: 'solorun run migrate --wait 10m -- npm run migrate' },
    {
      says: 'Once per night over all hosts; should the host that runs it die, another one takes over',
      types: "solorun run billing --once-per '0 3 * * *' --timezone UTC --on-busy standby --attempts 2 -- ./bill",
    },
    {
      says: 'Send the fencing token along with what the command writes',
      types: `solorun run upload -- sh -c 'upload --fence "$SOLORUN_FENCE"'`,
    },
    {
      says: 'Locks on a Postgres; the password comes from PGPASSFILE',
      types: 'SOLORUN_STORE=postgres://app@db.internal/app solorun run report -- ./report',
    },
  ],
  options: [
    new Option('--name <name>', 'in the place of <name>, for a name that begins with a dash'),
    storeOption(),
    namespaceOption(),
    new Option(
      '--on-busy <policy>',
      'when the lock is held elsewhere: skip; retry with growing pauses, then skip; wait in the queue; standby until the occurrence is done elsewhere, and take over if its holder dies; fail, which is a skip that counts as an error (default: skip)',
    ).choices(['skip', 'retry', 'wait', 'standby', 'fail']),
    new Option('--wait <time>', 'how long to wait at most; --on-busy wait alone waits without end'),
    new Option(
      '--on-outage <action>',
      'when the store cannot be asked: retry, or fail at once with exit status 69 (default: retry with --on-busy wait and standby, else fail)',
    ).choices(['retry', 'fail']),
    new Option('--outage <time>', 'how long to retry in an outage of the store (default: as long as --wait, else 1m)'),
    new Option('--retries <count>', 'how often to try again, with --on-busy retry (default: 5)'),
    new Option(
      '--once-per <cron>',
      'run once per scheduled time of this cron expression (five or six fields), over all machines. A run is for the latest time that has come',
    ),
    new Option(
      '--timezone <zone>',
      "of --once-per, for example UTC or Europe/Berlin. Give one where machines differ (default: this machine's)",
    ),
    new Option('--interval <time>', 'as --once-per, for plain intervals: 15m is once per quarter of an hour'),
    new Option('--within <time>', 'do not run a scheduled time that is longer ago than this (default: run it however late)'),
    new Option('--attempts <count>', 'how many runs of one occurrence may start when they crash or fail (default: 1)'),
    new Option(
      '--lease <time>',
      'how long the store keeps the lock without a renewal. After that, others take over from a machine that is gone',
    ).default('60s'),
    new Option('--ignore-pause', 'run although the lock is paused (solorun pause): for the hand'),
    new Option('--history', 'keep the run among the last 50 of the lock. With a schedule it always is'),
    new Option(
      '--ping <url>',
      'tell a monitor that is pinged at a URL (healthchecks.io and others) of the start (URL/start), the success (URL) and the failure (URL/fail) of the command. Only where the command runs; a monitor that cannot be reached delays nothing. In SOLORUN_PING_URL other users of this machine cannot read it',
    ).env('SOLORUN_PING_URL'),
    new Option('--max-run <time>', `end the command after this long, with exit status ${exits.overtime.status}`),
    new Option(
      '--grace <time>',
      'the time between SIGTERM and SIGKILL when the command must end; when the lock is lost, a third of --lease at most',
    ).default('10s'),
    new Option(
      '--on-lost <action>',
      'when the lock is lost while the command runs: kill it (SIGTERM, then SIGKILL after the grace), or warn',
    )
      .choices(['kill', 'warn'])
      .default('kill'),
    new Option(
      '--leftovers <action>',
      'processes that the command leaves behind when it ends: end them, wait for them with the lock held, or leave them',
    )
      .choices(['end', 'wait', 'leave'])
      .default('end'),
    new Option('--busy-exit-code <status>', `the exit status when the command was not run (default: ${exits.busy.status})`),
    new Option('--label <text>', 'shown to others beside host and process id of the holder'),
    new Option('-q, --quiet', 'say nothing but errors'),
    new Option('-v, --verbose', 'say what happens, on stderr').conflicts('quiet'),
  ],
};
