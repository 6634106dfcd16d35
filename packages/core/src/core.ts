import { setMaxListeners } from 'node:events';
import { onceAborted } from './abort.ts';
import { Attempts } from './attempts.ts';
import { createCalls, type Calls } from './calls.ts';
import { ownSignals, reusedSignals } from './call-signals.ts';
import { ClosedError } from './errors.ts';
import { createEvents, type Events } from './events.ts';
import { Keeper } from './keeper.ts';
import type { SoloSettings } from './settle.ts';
import type { Outages, Riders } from './outage.ts';
import { queueOf, type Queue } from './queue.ts';
import { Records } from './records.ts';
import { Hooks } from './run-hooks.ts';
import { Standbys } from './standbys.ts';
import { Sweeper } from './sweeper.ts';

/** The parts of one solo. */
export class Core {
  readonly settings: SoloSettings;
  readonly events: Events = createEvents();
  readonly queue: Queue;
  readonly calls: Calls;
  readonly keeper: Keeper;
  readonly attempts: Attempts;
  readonly records: Records;
  readonly standbys: Standbys = new Standbys();
  readonly hooks: Hooks = new Hooks();
  readonly riders: Riders = new Map();
  readonly outages: Outages = { names: new Map(), warnedAt: Number.NEGATIVE_INFINITY };
  /** Full names for which a warning has said that they were asked for much too early. */
  readonly earlyTold: Set<string> = new Set();
  /** By full name: the end of the pause that was told last. */
  readonly pausesTold: Map<string, number> = new Map();
  /** Aborts with a `ClosedError` when the solo closes. */
  readonly closing: AbortController = new AbortController();

  constructor(settings: SoloSettings) {
    this.settings = settings;
    this.queue = queueOf(settings.provider);
    this.calls = createCalls(settings.provider.forgetsSignals === true ? reusedSignals : ownSignals);
    this.records = new Records(settings, this.calls);
    const sweeper = new Sweeper(settings, this.records, this.closing.signal);
    this.keeper = new Keeper(settings, this.events, this.queue, this.calls, () => sweeper.released());
    this.attempts = new Attempts(settings, this.events, this.calls, this.keeper);
    // Every run and every wait listens to it, and users of the solo may.
    setMaxListeners(0, this.closing.signal);
    // A listener that stays: else the first of each run would be added to the signal itself, and taken off again.
    onceAborted(this.closing.signal, () => {});
  }

  throwIfClosed(): void {
    if (this.closing.signal.aborted) throw new ClosedError();
  }
}
