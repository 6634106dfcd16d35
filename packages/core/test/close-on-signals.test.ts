import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { closeOnSignals, createSolo, OptionError } from '../src/index.ts';
import { memory } from '../src/memory.ts';

const program = fileURLToPath(new URL('programs/signalled.js', import.meta.url));
const running = new Set<ChildProcess>();

afterAll(() => {
  for (const child of running) child.kill('SIGKILL');
});

/** A process of its own, with a run under way. */
class Signalled {
  readonly said: string[] = [];
  stderr = '';
  readonly #child: ChildProcess;
  #heard = (): void => {};
  /** Its exit status, or the signal that ended it. */
  readonly ended: Promise<number | string>;

  constructor(...words: string[]) {
    this.#child = spawn(process.execPath, [program, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this.#child);
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.said.push(line);
      this.#heard();
    });
    this.#child.stderr!.on('data', (chunk: Buffer) => {
      this.stderr += String(chunk);
      this.#heard();
    });
    this.ended = once(this.#child, 'close').then(([status, signal]: unknown[]) => {
      running.delete(this.#child);
      this.#heard();
      return (status ?? signal) as number | string;
    });
  }

  async until(word: string): Promise<void> {
    while (!this.said.includes(word) && !this.stderr.includes(word)) {
      if (!running.has(this.#child)) throw new Error(`ended without "${word}": ${this.said.join(', ')}\n${this.stderr}`);
      await new Promise<void>((resolve) => (this.#heard = resolve));
    }
  }

  async begun(): Promise<this> {
    await this.until('ready');
    await this.until('job runs');
    return this;
  }

  send(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

describe.concurrent('closeOnSignals', { timeout: 30_000 }, () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('closes at %s, and then ends the process as that does', async (signal) => {
    const child = await new Signalled().begun();
    child.send(signal);
    expect(await child.ended).toBe(signal);
    expect(child.said.slice(2)).toEqual(['closing', 'job stopping', 'job released']);
    expect(child.stderr).toBe('');
  });

  it.each(['both', 'twice'])('waits for all solos (%s)', async (word) => {
    const child = await new Signalled(word).begun();
    await child.until('slow runs');
    child.send('SIGTERM');
    expect(await child.ended).toBe('SIGTERM');
    expect(child.said).toEqual(expect.arrayContaining(['job released', 'slow released']));
  });

  it('ends at once at the second signal', async () => {
    const child = await new Signalled('stubborn', 'second').begun();
    child.send('SIGTERM');
    await child.until('job stopping');
    child.send('SIGINT');
    expect(await child.ended).toBe('SIGINT');
  });

  it('ends after its grace where a handler does not stop, and says so', async () => {
    const child = await new Signalled('stubborn').begun();
    child.send('SIGTERM');
    expect(await child.ended).toBe('SIGTERM');
    expect(child.said).not.toContain('job released');
    expect(child.stderr).toContain('[SOLORUN_CLOSE] Warning: Still running after 300 ms: "job".');
  });

  it.each(['own', 'once'])("does not end the process under the program's own listener (%s)", async (word) => {
    const child = await new Signalled(word).begun();
    child.send('SIGTERM');
    expect(await child.ended).toBe(7);
    expect(child.said).toEqual(expect.arrayContaining(['own work', 'job released', 'own end', 'exit 7']));
    // It closed within 50 ms, and the listener went on.
    expect(child.said.indexOf('job released')).toBeLessThan(child.said.indexOf('own end'));
  });

  it('waits for the solos where a listener that was done first has sent the signal once more', async () => {
    const child = await new Signalled('nest', 'both').begun();
    await child.until('slow runs');
    child.send('SIGTERM');
    expect(await child.ended).toBe('SIGTERM');
    expect(child.said.indexOf('nest done')).toBeLessThan(child.said.indexOf('slow released'));
  });

  it('reports listeners that do not end the process, and leaves the next signal to them', async () => {
    const child = await new Signalled('idle').begun();
    child.send('SIGTERM');
    await child.until('SOLORUN_LINGERS');
    expect(child.said).toEqual(expect.arrayContaining(['idle heard', 'job released']));
    child.send('SIGINT');
    expect(await child.ended).toBe('SIGINT');
  });

  it('ends the process beside other listeners, too, if it is told to', async () => {
    const child = await new Signalled('idle', 'end').begun();
    child.send('SIGTERM');
    expect(await child.ended).toBe('SIGTERM');
    expect(child.said).toContain('job released');
  });

  it('leaves the process if it is told to', async () => {
    const child = await new Signalled('leave').begun();
    child.send('SIGTERM');
    await child.until('job released');
    await child.until('unheard');
    child.send('SIGTERM');
    expect(await child.ended).toBe('SIGTERM');
  });

  it('is undone by what it returns', async () => {
    const child = await new Signalled('undone').begun();
    child.send('SIGTERM');
    expect(await child.ended).toBe('SIGTERM');
    expect(child.said).not.toContain('closing');
  });
});

describe('closeOnSignals, in this process', () => {
  it('keeps no listener once all is undone', () => {
    const before = process.listenerCount('SIGHUP');
    const solo = createSolo({ provider: memory() });
    const undos = [1, 2].map(() => closeOnSignals(solo, { signals: ['SIGHUP'] }));
    expect(process.listenerCount('SIGHUP')).toBe(before + 1);
    for (const undo of undos) undo();
    expect(process.listenerCount('SIGHUP')).toBe(before);
  });

  it.each<[string, () => unknown]>([
    ['no solo', () => closeOnSignals(undefined as never)],
    ['a signal that cannot be heard', () => closeOnSignals([], { signals: ['SIGKILL'] })],
    ['a signal that does not exist', () => closeOnSignals([], { signals: ['SIGTREM' as 'SIGTERM'] })],
    ['an option that does not exist', () => closeOnSignals([], { gracems: 1 } as never)],
    ['a grace that is none', () => closeOnSignals([], { graceMs: -1 })],
  ])('refuses %s', (_, call) => {
    expect(call).toThrow(OptionError);
  });
});
