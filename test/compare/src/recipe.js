// @ts-check
// The contract between a replica and its contender: a way to run a scheduled job, and one to hold a lock for long.

/**
 * @typedef {object} Setting
 * @property {string} store A URL, or a directory.
 * @property {number} leaseMs How long a lock lives without news of its holder, where there is such a thing.
 * @property {(what: string) => void} tell To be called when the package says, by whatever means it has, that the lock is lost.
 */

/**
 * The question that a handler can ask before each step: false if the lock is not its own any more. Undefined where the package has none.
 *
 * @typedef {(() => boolean) | undefined} IsMine
 */

/** @typedef {(isMine?: IsMine) => Promise<void>} Act */

/**
 * Each recipe is what the documentation of its package shows, and no more.
 *
 * @typedef {object} Recipe
 * @property {(expression: string, act: (at: Date) => Promise<void>) => void} schedule Runs the job at each tick, or gives way.
 * @property {(act: Act) => Promise<void>} hold Waits for the lock, as this package waits, and acts while it holds it.
 */

/** All replicas compete for this one. */
export const NAME = 'the-job';
