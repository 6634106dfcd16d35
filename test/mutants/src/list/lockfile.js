// @ts-check

/** @import { Mutant } from '../mutant.js' */

/** @param {string} file @param {string} test */
const by = (file, test) => ({ project: 'lockfile', file: `test/${file}.test.ts`, test });
/** @param {string} place */
const explored = (place) => ({ ...by('generations', `and crashes keeps its promises on ${place}`), explorations: 20_000 });

/**
 * More of them, some of several lines, are in packages/lockfile/test/mutants.ts: the explorations catch those in each `npm test`.
 *
 * @type {readonly Mutant[]}
 */
export const lockfile = [
  {
    name: 'does not look again after it has created its generation',
    package: 'lockfile',
    file: 'src/succession.ts',
    from: "isTaken = (typeof mayStand === 'boolean' ? mayStand : await mayStand) && !signal.aborted;",
    to: 'isTaken = !signal.aborted;',
    caughtBy: by('claims', 'keeps what a holder that came back has done'),
  },
  {
    name: 'removes a claim that it withdraws, though it is the highest',
    package: 'lockfile',
    file: 'src/succession.ts',
    from: 'if (standing.at(-1) !== grant.fence) return this.#store.remove(own);',
    to: 'if (standing.length > 0) return this.#store.remove(own);',
    caughtBy: by('claims', 'gives the number of a claim that was withdrawn to nobody else'),
  },
  {
    name: 'looks only whether what it has followed is still there, not whether its holder came back',
    package: 'lockfile',
    file: 'src/top.ts',
    from: 'return again?.body === file.body && (expiresAt === undefined || again.modifiedAt === file.modifiedAt);',
    to: 'return again !== undefined;',
    caughtBy: by('claims', 'keeps what a holder that came back has done'),
  },
  {
    name: 'makes no allowance for modification times that are rounded down',
    package: 'lockfile',
    file: 'src/deadlines.ts',
    from: 'modifiedAt + leaseMs + this.#store.granularityMs;',
    to: 'modifiedAt + leaseMs;',
    caughtBy: explored('a store whose times are coarse'),
  },
  {
    name: 'takes a lease that lies in the future for over at the first sight',
    package: 'lockfile',
    file: 'src/deadlines.ts',
    from: 'return this.#outlasted.isOver(key, `${generation} ${file.modifiedAt}`, leaseMs + this.#store.granularityMs);',
    to: 'return generation > 0n;',
    caughtBy: by('claims', 'does not take over a lease of the future'),
  },
  {
    name: 'releases a generation without comparing its owner',
    package: 'lockfile',
    file: 'src/grant.ts',
    from: 'return record?.owner === grant.owner ? record : undefined;',
    to: 'return record;',
    caughtBy: by('claims', 'releases and renews for nobody who knows the number of a lease alone'),
  },
  {
    name: 'renews a lease whose time is over',
    package: 'lockfile',
    file: 'src/holdings.ts',
    from: '!this.#deadlines.isSpent(file, record, written.at, await this.#store.now()) &&',
    to: '',
    caughtBy: by('contract', 'does not renew a lease whose time is over, also if nobody has followed'),
  },
  {
    name: 'removes old generations highest first',
    package: 'lockfile',
    file: 'src/succession.ts',
    from: 'for (const generation of below) {',
    to: 'for (const generation of below.toReversed()) {',
    caughtBy: by('claims', 'removes old generations lowest first'),
  },
  {
    name: 'removes also the generation that it has followed',
    package: 'lockfile',
    file: 'src/succession.ts',
    from: 'generation !== grant.fence && generation !== top?.generation',
    to: 'generation !== grant.fence',
    caughtBy: by('claims', 'and keeps the one that it has followed'),
  },
  {
    name: 'shows a lock file before the kernel has locked it',
    package: 'lockfile',
    file: 'src/stores/local.ts',
    from: 'if (used === undefined) this.#locks?.tryLock(fd);',
    to: '',
    caughtBy: { faults: '--provider lockfile --nemesis none --seconds 4 --seed 1' },
  },
  {
    name: 'follows a file of a process that was killed when the lock had been forgotten',
    package: 'lockfile',
    file: 'src/ways.ts',
    from: '!isNew && start === undefined && generations.includes(top.base)',
    to: '!isNew && start === undefined',
    caughtBy: by('forget', 'leaves a file that is not followed when it is killed then'),
  },
  {
    name: 'forgets a lock without raising the floor of its fences',
    package: 'lockfile',
    file: 'src/edits.ts',
    from: 'await floor.atLeast(edit.fence);',
    to: '',
    caughtBy: by('forget', 'a fence is greater than all before when the clock was set back'),
  },
  {
    name: 'starts a lock anew by a floor that was raised meanwhile',
    package: 'lockfile',
    file: 'src/succession.ts',
    from: '(await this.#floor.now()) === floor',
    to: '(await this.#floor.now()) !== undefined',
    caughtBy: explored('a disk whose locks are forgotten and paused'),
  },
  {
    name: 'starts a lock anew beside a file that it has not seen',
    package: 'lockfile',
    file: 'src/succession.ts',
    from: 'seen.includes(each)',
    to: 'each <= grant.fence',
    caughtBy: by('forget', 'takes itself back beside a lock that a process of the version before has started'),
  },
  {
    name: 'does not look for a pause that came once it has looked',
    package: 'lockfile',
    file: 'src/succession.ts',
    from: 'pauses.length > 0 && pauses.at(-1) !== passes',
    to: 'pauses.length < 0',
    caughtBy: by('pauses', 'stops an acquisition that was under way'),
  },
  {
    name: 'numbers a pause by the clock alone',
    package: 'lockfile',
    file: 'src/pauses.ts',
    from: 'return byClock > last ? byClock : last + 1n;',
    to: 'return byClock;',
    caughtBy: by('pauses', 'is numbered above those that stand'),
  },
  {
    name: 'takes a pause that cannot be read for none',
    package: 'lockfile',
    file: 'src/pauses.ts',
    from: 'modifiedAt + UNREADABLE_MS',
    to: 'modifiedAt',
    caughtBy: by('pauses', 'counts as a pause when it cannot be read'),
  },
  {
    name: 'drops the fields of a later version',
    package: 'lockfile',
    file: 'src/transitions.ts',
    from: 'others: before?.others,',
    to: 'others: undefined,',
    caughtBy: by('versions', 'keeps its fields through runs, changes and takeovers'),
  },
  {
    name: 'removes a start beside others without raising the floor to its number',
    package: 'lockfile',
    file: 'src/succession.ts',
    from: 'await this.#floor.atLeast(grant.fence);',
    to: '',
    caughtBy: by('forget', 'takes itself back beside a lock that a process of the version before has started'),
  },
];
