import { randomUUID } from 'node:crypto';
import type { RunContext } from '@solorun/core';
import { startCommand, type Command, type CommandOptions } from './command.ts';
import { EndInTime } from './end-in-time.ts';
import { exits } from './exit.ts';
import { lostGraceOf, secondMs } from './grace.ts';
import { startLifeline, type Lifeline } from './lifeline.ts';
import type { Voice } from './output.ts';
import type { RunSettings } from './run-options.ts';
import { named } from './show.ts';
import type { Signals } from './signals.ts';

/** From the start of the command to its end, and the end of all that it started. Resolves to its exit status. */
export async function underLock(context: RunContext, settings: RunSettings, signals: Signals, voice: Voice): Promise<number> {
  const nonce = randomUUID();
  const lifeline = startLifeline({
    nonce,
    lostGraceMs: lostGraceOf(settings),
    onLost: settings.onLost,
    onBroken: () =>
      voice.error(
        'the warden ended: should solorun be stopped or killed now, what the command started may run on without the lock',
      ),
  });
  const beat = (): void => lifeline.trusted(context.remainingMs() + secondMs(settings.leaseMs));
  // Before there is a command: we may be stopped in the very moment in which it starts.
  beat();
  const command = startOn(lifeline, { command: settings.command, env: environment(context, settings.name), nonce }, signals);
  const beats = setInterval(beat, Math.min(1_000, settings.leaseMs / 10));
  const onEnding = (graceMs: number): void => {
    clearInterval(beats);
    lifeline.ending(graceMs);
  };
  const ending = new EndInTime({ command, signal: context.signal, settings, voice, onEnding });
  try {
    const status = await command.ended;
    lifeline.watches(command.tree);
    await ending.stopped();
    await endLeftovers(command, settings, voice);
    return ending.overtime ? exits.overtime.status : status;
  } finally {
    clearInterval(beats);
    ending.cancel();
    lifeline.done();
  }
}

/** @throws Ending if the command cannot be started; the lifeline is over then */
function startOn(lifeline: Lifeline, options: CommandOptions, signals: Signals): Command {
  try {
    const command = startCommand(options);
    lifeline.watches(command.tree);
    signals.handTo(command);
    return command;
  } catch (error) {
    lifeline.done();
    throw error;
  }
}

function environment({ fence, occurrence, attempt }: RunContext, name: string): NodeJS.ProcessEnv {
  const { SOLORUN_OCCURRENCE: _, SOLORUN_PING_URL: __, ...inherited } = process.env;
  return {
    ...inherited,
    SOLORUN_NAME: name,
    SOLORUN_FENCE: String(fence),
    SOLORUN_ATTEMPT: String(attempt),
    ...(occurrence === undefined ? {} : { SOLORUN_OCCURRENCE: occurrence.at.toISOString() }),
  };
}

/** A command that turns itself into a daemon must not run on when the lock is released. */
async function endLeftovers(command: Command, { leftovers, graceMs, name }: RunSettings, voice: Voice): Promise<void> {
  if (leftovers === 'leave') return;
  const left = command.left();
  if (left === 0) return;
  const processes = left === 1 ? 'a process' : `${left} processes`;
  if (leftovers === 'wait') {
    voice.note(`the command ended and left ${processes} behind; ${named(name)} is held until all have ended`);
    await command.gone();
    return;
  }
  voice.note(`the command ended and left ${processes} behind; ending them (--leftovers wait or leave would not)`);
  await command.stop(graceMs);
  if (command.left() > 0) voice.error(`what the command left behind could not be ended; it runs on without ${named(name)}`);
}
