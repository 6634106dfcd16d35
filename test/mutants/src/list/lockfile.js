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
    from: 'if ((await this.#isNext(key, after, grant.fence, top)) && !signal.aborted) standing = after;',
    to: 'if (!signal.aborted) standing = after;',
    caughtBy: by('claims', 'keeps what a holder that came back has done'),
  },
  {
    name: 'removes a claim that it withdraws, though it is the highest',
    package: 'lockfile',
    file: 'src/succession.ts',
    from: 'if (after !== undefined && after.at(-1) !== fence) return this.#store.remove(own);',
    to: 'if (after !== undefined) return this.#store.remove(own);',
    caughtBy: by('claims', 'gives the number of a claim that was withdrawn to nobody else'),
  },
  {
    name: 'looks only whether what it has followed is still there, not whether its holder came back',
    package: 'lockfile',
    file: 'src/succession.ts',
    from: 'return again?.body === top.file.body && again.modifiedAt === top.file.modifiedAt;',
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
    file: 'src/generations.ts',
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
    file: 'src/generations.ts',
    from: 'standing.slice(0, -2)',
    to: 'standing.slice(0, -1)',
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
];
