// @ts-check

/** @import { Fleet } from './fleet.js' */
/** @import { Member } from './member.js' */
/** @import { Random } from './random.js' */

/**
 * The replica that a fault hits. In half of the cases one with a run in progress, if there is any: a fault that hits no holder shows little.
 *
 * @param {{ fleet: Fleet, random: Random }} scene
 * @returns {Member}
 */
export function victim({ fleet, random }) {
  if (random.next() < 0.5) return random.pick(fleet.members);
  /** @type {Map<string, string>} */
  const open = new Map();
  for (const { kind, worker, id } of fleet.lines()) {
    if (kind === 'begin') open.set(`${worker} ${id}`, worker);
    if (kind === 'end' || kind === 'lost' || kind === 'answered') open.delete(`${worker} ${id}`);
  }
  const busy = new Set(open.values());
  const holders = fleet.members.filter(({ label }) => busy.has(label));
  return random.pick(holders.length === 0 ? fleet.members : holders);
}
