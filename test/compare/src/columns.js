// @ts-check
// The figures in words, which are the same from run to run.

import { contenders } from './contenders.js';
import { countTicks, cut, endConnections, kill, pause, reset } from './scenarios.js';

/** @import { Contender, ContenderName } from './contenders.js' */
/** @import { Effort, HolderFigures, TickFigures } from './scenarios.js' */

/**
 * @typedef {object} Figures Of one contender; a scenario that makes no sense on its store is left out.
 * @property {TickFigures} [late]
 * @property {TickFigures} [skew]
 * @property {HolderFigures} [kill]
 * @property {HolderFigures} [pause]
 * @property {HolderFigures} [cut]
 * @property {HolderFigures} [reset]
 * @property {{ crashed: boolean }} [connections]
 */

/**
 * @typedef {object} Scenario
 * @property {'files' | undefined} [notOn]
 * @property {(name: ContenderName, effort: Effort, together: () => Promise<void>) => Promise<Figures>} run `together` resolves when all
 *   that run at the same time are ready.
 */

/** The clocks of the contenders are so far apart, so that they do not all work at the same moment of a second. */
const APART_MS = 70;

/** @type {Readonly<Record<keyof Figures, Scenario>>} */
export const scenarios = {
  late: {
    run: async (name, effort, together) => {
      const behindMs = Object.keys(contenders).indexOf(name) * APART_MS;
      return { late: await countTicks(name, [behindMs, behindMs + 200], 1, effort.ticks, effort, together) };
    },
  },
  skew: {
    run: async (name, effort, together) => ({
      skew: await countTicks(name, [-2_000, 2_000], 5, effort.skewedTicks, effort, together),
    }),
  },
  kill: { run: async (name, effort) => ({ kill: await kill(name, effort) }) },
  pause: { run: async (name, effort) => ({ pause: await pause(name, effort) }) },
  cut: { notOn: 'files', run: async (name, effort) => ({ cut: await cut(name, effort) }) },
  reset: { notOn: 'files', run: async (name, effort) => ({ reset: await reset(name, effort) }) },
  connections: { notOn: 'files', run: async (name, effort) => ({ connections: await endConnections(name, effort) }) },
};

/**
 * @typedef {object} Column
 * @property {keyof Figures} scenario
 * @property {string} head
 * @property {string} [short] In the README, if it stands there.
 * @property {string} what The fault, and the meaning of the words.
 * @property {readonly string[]} order Words from the best to the worst. Other words are not compared.
 * @property {string} [because] Why a peer may be better here.
 * @property {(figures: Figures, effort: Effort) => string | undefined} verdict
 */

/** The part of the ticks from which on the word is the one for all of them: a busy machine may miss some. */
const NEARLY_ALL = 0.8;
const duplicates = ['none', 'some', 'nearly every tick'];
const times = ['at once', 'within the lease', 'after the lease', 'never (60 s)'];
const besides = ['no', 'until it learns of it', 'yes'];

/** @type {readonly Column[]} */
export const columns = [
  {
    scenario: 'late',
    head: 'one replica 200 ms late: ticks run twice',
    short: '200 ms late: ticks run twice',
    what: 'Two replicas run a job of 20 ms every second, for 30 ticks. The clock of one is 200 ms behind. A tick for which the machine woke a replica late is left out. A tick runs twice when both of them run it; *nearly every tick* is four of five or more.',
    order: duplicates,
    verdict: ({ late }) => late && ticksOf(late),
  },
  {
    scenario: 'skew',
    head: 'clocks off by ±2 s: ticks run twice',
    short: 'clocks ±2 s: ticks run twice',
    what: 'The same every 5 s. The clock of one replica is 2 s ahead, the other’s is 2 s behind.',
    order: duplicates,
    verdict: ({ skew }) => skew && ticksOf(skew),
  },
  {
    scenario: 'kill',
    head: 'holder killed: the next one starts',
    short: 'holder killed: the next one starts',
    what: 'SIGKILL to the process that holds the lock, while another one waits for it. *Within the lease* is about as long as a lock lives without news of its holder; *after the lease* is twice as long.',
    order: times,
    because: 'A lock that ends with its session or process ends at once, and one that ends with time does not.',
    verdict: ({ kill: figures }, effort) => figures && timeOf(figures, effort),
  },
  {
    scenario: 'pause',
    head: 'holder stopped: the next one starts',
    what: 'SIGSTOP to it.',
    order: times,
    verdict: ({ pause: figures }, effort) => figures && timeOf(figures, effort),
  },
  {
    scenario: 'pause',
    head: '… and the woken holder acts beside it',
    short: 'woken after a pause: acts beside the next one',
    what: 'SIGCONT once the other one runs. The holder acts every 50 ms, and asks before each step whatever its package offers to ask. *No*: it did not act again. *Until it learns of it*: it acted for a step or two, and learned of its loss then. *Yes*: it goes on for as long as its job takes.',
    order: besides,
    verdict: ({ pause: figures }) => figures && besideOf(figures),
  },
  {
    scenario: 'cut',
    head: 'holder cut off: the next one starts',
    what: 'The cable between the holder and the server is cut for good: connections stay open, and nothing arrives.',
    order: times,
    verdict: ({ cut: figures }, effort) => figures && timeOf(figures, effort),
  },
  {
    scenario: 'cut',
    head: '… and the holder learns of it',
    short: 'cut off: the holder learns of it',
    what: '*Before*: it acted no more when the other one began. *After*: it acted beside it first. *Never*: it went on for four times as long as a lock lives.',
    order: ['before', 'after', 'never'],
    verdict: ({ cut: figures }) => figures && learnedOf(figures),
  },
  {
    scenario: 'reset',
    head: 'server reset: the next one starts',
    what: 'The machine of the server is reset: the server is killed, and started again at once. Then another replica asks for the lock. The holder hears of the reset when it next sends something. *Keeps its lock*: the lock outlives the reset, and its holder goes on.',
    order: ['keeps its lock', ...times],
    because:
      'A server that may have forgotten locks grants none of Solorun’s for the length of a lease, so that two never hold one.',
    verdict: ({ reset: figures }, effort) => figures && (isKept(figures) ? 'keeps its lock' : timeOf(figures, effort)),
  },
  {
    scenario: 'reset',
    head: '… beside the first one',
    short: 'server reset: two at once',
    what: 'The words are those of a pause. Here, *until it learns of it* may be seconds.',
    order: besides,
    verdict: ({ reset: figures }) => figures && (isKept(figures) ? 'no' : besideOf(figures)),
  },
  {
    scenario: 'connections',
    head: 'connections ended: the process',
    what: 'An administrator ends all connections of clients: `pg_terminate_backend()`, `CLIENT KILL`.',
    order: ['survives', 'crashes'],
    verdict: ({ connections }) => connections && (connections.crashed ? 'crashes' : 'survives'),
  },
];

/** @param {Contender} contender @param {Scenario} scenario */
export function isOn({ store }, { notOn }) {
  return store !== notOn;
}

/** @param {TickFigures} figures */
function ticksOf({ ticks, twice, never }) {
  // Nothing seen is no praise.
  if (ticks === 0) throw new Error('No tick was on time, so none was counted. Remedy: a machine that is less busy.');
  const word = twice === 0 ? 'none' : twice >= ticks * NEARLY_ALL ? 'nearly every tick' : 'some';
  // A machine that is too busy may lose one.
  return never > ticks / 10 ? `${word}; some not at all` : word;
}

/** @param {HolderFigures} figures @param {Effort} effort */
function timeOf({ isUnlocked, followedMs }, { leaseMs }) {
  if (isUnlocked) return 'at the next tick';
  if (followedMs === undefined) return 'never (60 s)';
  // The times are close to nothing, to one lease, or to two, so these limits are far from all of them.
  return followedMs < leaseMs * 0.3 ? 'at once' : followedMs < leaseMs * 1.6 ? 'within the lease' : 'after the lease';
}

/** @param {HolderFigures} figures */
function besideOf({ followedMs, besideMs, learnedMs, crashed }) {
  if (followedMs === undefined) return '–';
  if (besideMs === undefined) return 'no';
  return learnedMs === undefined && !crashed ? 'yes' : 'until it learns of it';
}

/** @param {HolderFigures} figures */
function learnedOf({ followedMs, besideMs, learnedMs, crashed }) {
  if (followedMs === undefined) return '–';
  if (learnedMs === undefined) return crashed ? 'by a crash' : 'never';
  return besideMs === undefined ? 'before' : 'after';
}

/** @param {HolderFigures} figures */
function isKept({ followedMs, isHolding }) {
  return followedMs === undefined && isHolding;
}
