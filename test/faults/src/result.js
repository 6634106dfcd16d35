// @ts-check

/**
 * How a request ended, in a word: `ran`, `ran, unreleased` (the provider did not confirm the end), the reason of a skip, or `error: …`.
 * Nothing is thrown.
 *
 * @param {Promise<{ status: 'ran', released?: boolean } | { status: 'skipped', reason: string }>} running
 * @returns {Promise<string>}
 */
export async function resultOf(running) {
  try {
    const result = await running;
    if (result.status === 'skipped') return result.reason;
    return result.released === false ? 'ran, unreleased' : 'ran';
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    return `error: ${name}: ${message}`;
  }
}
