// @ts-check

/** @import { Mutant } from '../mutant.js' */

/**
 * Changes that look like mistakes and are none: nobody could observe them, so no test can.
 *
 * @type {readonly (Pick<Mutant, 'name' | 'package' | 'file'> & { readonly reason: string })[]}
 */
export const equal = [];
