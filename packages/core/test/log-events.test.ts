import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { logEvents, OptionError, type EventLogger, type LogEventsOptions, type SoloOptions } from '../src/index.ts';
import { at, createStage, deferred, pass, rejection, settle, silence, useFakeTime } from './stage.ts';

/** A logger like console. */
function recorder(): { readonly logger: EventLogger; readonly lines: string[] } {
  const lines: string[] = [];
  const log =
    (level: string) =>
    (...line: unknown[]): void =>
      void lines.push(`${level} ${line.join('|')}`);
  return { lines, logger: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') } };
}

function logged(options: LogEventsOptions = {}, stage = createStage(), solo: Partial<SoloOptions> = {}) {
  const { logger, lines } = recorder();
  const replica = stage.replica(solo);
  return { solo: replica, lines, stop: logEvents(replica, logger, options), other: stage.replica({ label: 'web-2' }) };
}

describe('logEvents', () => {
  useFakeTime();

  it('says who has the lock, since when and until when', async () => {
    const { solo, other, lines } = logged();
    const gate = deferred();
    const running = other.run('job', () => gate.promise);
    await pass(3_000);
    await solo.run('job', () => {}, { occurrence: at(-1) });
    gate.resolve();
    await running;
    expect(lines).toEqual([
      expect.stringMatching(
        /^info skipped "job" for 2026-01-02T02:59:59\.000Z: held by web-2@\S+ \(pid \d+\) for 3 s; its lease ends in 27 s unless it is renewed$/,
      ),
    ]);
  });

  it('says what became of runs', async () => {
    const { solo, lines } = logged();
    const options = { occurrence: at(-10), attempts: 2 };
    await rejection(solo.run('job', () => Promise.reject(new Error('no space left')), options));
    await solo.run('job', () => {}, options);
    await solo.run('job', () => {}, options);
    await solo.run('job', () => {}, { occurrence: at(-20) });
    expect(lines).toEqual([
      'info acquired "job" for 2026-01-02T02:59:50.000Z (fence 1)',
      'error failed "job" for 2026-01-02T02:59:50.000Z (fence 1): no space left',
      'info acquired "job" for 2026-01-02T02:59:50.000Z, attempt 2 (fence 2)',
      'info skipped "job" for 2026-01-02T02:59:50.000Z: that scheduled time has run',
      'info skipped "job" for 2026-01-02T02:59:40.000Z: a later scheduled time has been claimed',
    ]);
  });

  it('says who has paused, until when and why', async () => {
    const { solo, lines } = logged();
    await solo.pause('job', { by: 'ops', note: 'the disk' });
    await solo.run('job', () => {});
    expect(lines).toEqual([
      'info paused "job" by "ops" until 2026-01-02T04:00:00.000Z ("the disk")',
      'info skipped "job": paused by "ops" until 2026-01-02T04:00:00.000Z ("the disk")',
    ]);
  });

  it('says what was missed, and what schedules are in each other’s way', async () => {
    vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { solo, lines } = logged({ level: 'warn' });
    const every10 = { schedule: { everyMs: 10_000 }, scheduleHash: 'aaaa' };
    await rejection(solo.run('job', () => Promise.reject(new Error('no')), { ...every10, occurrence: at(-60) }));
    await solo.run('job', () => {}, { ...every10, occurrence: at(-30) });
    await solo.run('job', () => {}, { schedule: { expression: '* * * * *' }, scheduleHash: 'bbbb', occurrence: at(-20) });
    await solo.run('job', () => {}, { ...every10, occurrence: at(-10) });
    expect(lines.slice(1)).toEqual([
      'warn missed "job" for 2026-01-02T02:59:00.000Z: it was started and never completed (failed)',
      'warn missed "job" for 2026-01-02T02:59:10.000Z: no replica asked for it',
      'warn missed "job" for 2026-01-02T02:59:20.000Z: no replica asked for it',
      expect.stringMatching(
        /^warn schedule conflict "job": claimed for "\* \* \* \* \*", and here, by \S+ \(pid \d+\), for every 10 s$/,
      ),
    ]);
  });

  it('says that a lease was lost, a handler is stuck, and an answer did not come', async () => {
    const { solo, lines } = logged(
      { level: 'warn' },
      createStage(() => ({ renew: silence })),
    );
    const running = rejection(solo.run('job', () => pass(60_000), { graceMs: 1_000 }));
    await running;
    const words = lines.map((line) => line.split(' ').slice(0, 3).join(' '));
    expect(words).toEqual(
      expect.arrayContaining(['error lost "job":', 'error stuck "job"', 'warn unconfirmed "job":', 'error failed "job"']),
    );
  });

  it('says more at the level debug, and less at a higher one', async () => {
    const debug = logged({ level: 'debug' });
    await debug.solo.run('job', () => pass(2_000));
    expect(debug.lines).toEqual(['info acquired "job" (fence 1)', 'debug released "job" (fence 1): done after 2 s']);
    const error = logged({ level: 'error' });
    await error.solo.run('job', () => {});
    expect(error.lines).toEqual([]);
  });

  it('keeps each line one line, short, and without credentials', async () => {
    const { solo, lines } = logged({ level: 'error' });
    const error = new Error(`password=hunter2 \u001B[31m\n\u202E ${'x'.repeat(5_000)}`);
    await rejection(solo.run('a\nb "c"', () => Promise.reject(error)));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^error failed "a\\nb \\"c\\"" \(fence 1\): password=\*\*\* \\u\{1b\}\[31m\\n\\u\{202e\} x+…$/);
    expect(lines[0]!.length).toBeLessThan(1_100);
  });

  it('ends when it is told to', async () => {
    const { solo, lines, stop } = logged();
    stop();
    await solo.run('job', () => {});
    expect(lines).toEqual([]);
  });

  it('gives pino fields and a text, Nest a log(), and others the text', async () => {
    const solo = createStage().replica();
    const [pino, nest] = [vi.fn<(...line: unknown[]) => void>(), vi.fn<(...line: unknown[]) => void>()];
    const rest = { warn: () => {}, error: () => {} };
    logEvents(solo, { ...rest, info: pino, debug: () => {}, bindings: () => ({}) });
    logEvents(solo, { ...rest, log: nest });
    await solo.run('job', () => {});
    expect(pino.mock.calls).toEqual([
      [{ event: 'solorun:acquired', lock: 'job', provider: 'memory', fence: '1' }, 'acquired "job" (fence 1)'],
    ]);
    expect(nest.mock.calls).toEqual([['acquired "job" (fence 1)']]);
  });

  it('calls the methods on their logger, and outlives one that throws', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    class Logger {
      readonly #lines: string[] = [];
      info(line: string): void {
        this.#lines.push(line);
        throw new Error('the disk is full');
      }
      warn(): void {}
      error(): void {}
      get lines(): number {
        return this.#lines.length;
      }
    }
    const logger = new Logger();
    const solo = createStage().replica();
    logEvents(solo, logger);
    expect(await solo.run('job', () => 1)).toMatchObject({ value: 1 });
    await settle();
    expect([logger.lines, warned.mock.calls.length]).toEqual([1, 1]);
  });

  it('needs a logger, and a level that there is', () => {
    const solo = createStage().replica();
    expect(() => logEvents(solo, {} as EventLogger)).toThrow(OptionError);
    expect(() => logEvents(solo, console, { level: 'trace' as 'debug' })).toThrow(/one of debug, info, warn, error/);
    expect(() => logEvents(solo, console, { levl: 'info' } as never)).toThrow(/did you mean level/);
  });
});

describe('SOLORUN_LOG', () => {
  const program = fileURLToPath(new URL('programs/logging.js', import.meta.url));
  const stderrOf = async (level: string | undefined): Promise<string[]> => {
    const env = { ...process.env, ...(level === undefined ? {} : { SOLORUN_LOG: level }) };
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [program], { env });
    expect(stdout).toBe('');
    return stderr.split('\n').filter((line) => line !== '');
  };

  it('logs every solo on stderr, a line each', async () => {
    expect(await stderrOf('info')).toEqual([
      'solorun info acquired "back\\nup" (fence 1)',
      expect.stringMatching(
        /^solorun info skipped "back\\nup": held by web-1@\S+ \(pid \d+\) for \d+ ms; its lease ends in 30 s unless it is renewed$/,
      ),
      'solorun info acquired "bad" (fence 1)',
      'solorun error failed "bad" (fence 1): at postgres://***@db/app\\nno',
    ]);
  });

  it('logs more with debug', async () => {
    expect((await stderrOf('debug')).filter((line) => line.startsWith('solorun debug'))).toHaveLength(3);
  });

  it.each([undefined, ''])('logs nothing where it is %j', async (level) => {
    expect(await stderrOf(level)).toEqual([]);
  });

  it('is refused once in a warning where it is no level, and changes nothing', async () => {
    const lines = await stderrOf('verbose');
    expect(lines.filter((line) => line.includes('[SOLORUN_LOG]'))).toEqual([
      expect.stringContaining('SOLORUN_LOG is one of debug, info, warn, error, not "verbose": nothing is logged.'),
    ]);
    expect(lines.filter((line) => line.startsWith('solorun'))).toEqual([]);
  });
});
