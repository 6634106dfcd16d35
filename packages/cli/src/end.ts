import { exits } from './exit.ts';

/** Ends the process with the status that `tool` resolves to. What it has printed is out by then. */
export async function end(tool: (words: readonly string[]) => Promise<number>): Promise<never> {
  process.exit(await tool(process.argv.slice(2)).catch(() => exits.internal.status));
}
