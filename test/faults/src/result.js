// @ts-check

/**
 * How a request ended, in a word: `ran`, the reason of a skip, or `error: …`. Nothing is thrown.
 *
 * @param {Promise<{ status: 'ran' } | { status: 'skipped', reason: string }>} running
 * @returns {Promise<string>}
 */
export async function resultOf(running) {
  try {
    const result = await running;
    return result.status === 'ran' ? 'ran' : result.reason;
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    return `error: ${name}: ${message}`;
  }
}
