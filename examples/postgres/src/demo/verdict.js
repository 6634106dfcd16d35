// @ts-check
// What a demo has counted, beside what was promised.

/**
 * @typedef {object} Count
 * @property {string} what
 * @property {number} found
 * @property {string} promised
 * @property {boolean} kept
 */

/** @param {string} what @param {number} found @param {number} promised @returns {Count} */
export const exactly = (what, found, promised) => ({ what, found, promised: String(promised), kept: found === promised });

/** @param {string} what @param {number} found @param {number} promised @returns {Count} */
export const atLeast = (what, found, promised) => ({ what, found, promised: `${promised} or more`, kept: found >= promised });

/** @param {readonly Count[]} counts @returns {string} */
export function report(counts) {
  const rows = counts.map(
    ({ what, found, promised, kept }) => `${kept ? '  ' : '! '}${String(found).padStart(6)}  ${what} (promised: ${promised})`,
  );
  const kept = counts.every((count) => count.kept);
  return [...rows, '', kept ? 'The promise was kept.' : 'THE PROMISE WAS BROKEN.'].join('\n');
}
