// @ts-check
// What tests look at servers and at errors with.

/**
 * Looks until it is so.
 *
 * @param {string} what
 * @param {() => Promise<boolean> | boolean} look
 * @param {number} [ms] After so long it never will be.
 * @returns {Promise<void>}
 */
export async function until(what, look, ms = 60_000) {
  for (const end = performance.now() + ms; !(await look());) {
    if (performance.now() > end) throw new Error(`it never came to pass that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * The error that something ends with.
 *
 * @param {unknown} work
 * @returns {Promise<Error>}
 */
export async function failureOf(work) {
  try {
    await work;
  } catch (error) {
    return /** @type {Error} */ (error);
  }
  throw new Error('it did not fail');
}

/**
 * Everything that a person or a log could see of an error.
 *
 * @param {unknown} error
 * @param {number} [depth]
 * @returns {string}
 */
export function shown(error, depth = 0) {
  if (depth > 5 || typeof error !== 'object' || error === null) return String(error);
  const own = Object.getOwnPropertyNames(error).map(
    (key) => `${key}=${shown(/** @type {Record<string, unknown>} */ (error)[key], depth + 1)}`,
  );
  return own.join(' ');
}
