import { setImmediate } from 'node:timers/promises';
import { exits } from './exit.ts';
import { createVoice } from './output.ts';

/** Ends the process with the status that `tool` resolves to. Its output is written by then. */
export async function end(tool: (words: readonly string[]) => Promise<number>): Promise<never> {
  const status = await tool(process.argv.slice(2)).catch(mistaken);
  // A process warning is printed a moment after it was emitted.
  await setImmediate();
  process.exit(status);
}

function mistaken(error: unknown): number {
  createVoice('solorun', 'normal').error(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return exits.internal.status;
}
