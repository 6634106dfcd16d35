// @ts-check

/** @import { Mutant } from '../mutant.js' */

/**
 * Changes that look like mistakes and are none: nobody could observe them, so no test can.
 *
 * @type {readonly (Pick<Mutant, 'name' | 'package' | 'file'> & { readonly reason: string })[]}
 */
export const equal = [
  {
    name: 'asks of an occurrence below the mark without asking whether there is a mark',
    package: 'core',
    file: 'src/occurrence.ts',
    reason: 'Where there is none, it is minus infinity, and nothing lies below that.',
  },
  {
    name: 'takes up the renewal of a lease that has ended',
    package: 'core',
    file: 'src/heartbeat.ts',
    reason: 'Its one caller has found the lease trusted in the same synchronous step.',
  },
  {
    name: 'renews a row without comparing the owner in the UPDATE',
    package: 'postgres',
    file: 'src/statements.ts',
    reason: 'The same statement has locked the row by a SELECT that compares the owner with the newest version of the row.',
  },
  {
    name: 'takes the time for the fence also where it is the same',
    package: 'redis',
    file: 'src/scripts.ts',
    reason: 'The one number is put in the place of itself.',
  },
];
