// @ts-check

/**
 * @param {readonly number[]} values
 * @param {number} q 0 to 1
 */
export function quantile(values, q) {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** @param {readonly number[]} values */
export function median(values) {
  return quantile(values, 0.5);
}

/**
 * How one contender compares to another: segment by segment, since what disturbs one of them for a while disturbs both.
 *
 * @typedef {{ median: number, min: number, max: number }} Ratio
 */

/**
 * @param {readonly number[]} of a figure for each segment
 * @param {readonly number[]} to the other's, of the same segments
 * @returns {Ratio}
 */
export function ratioOf(of, to) {
  const ratios = of.map((figure, segment) => figure / (to[segment] ?? Number.NaN));
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
}
