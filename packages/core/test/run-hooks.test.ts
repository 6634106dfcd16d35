import { describe, expect, it, vi } from 'vitest';
import { ClosedError, LeaseLostError, OptionError, type EndedRun, type RunHook, type StartedRun } from '../src/index.ts';
import { at, createStage, deferred, pass, rejection, settle, silence, useFakeTime } from './stage.ts';

useFakeTime();

/** A hook that keeps what it hears. */
function recorder(): { readonly hook: RunHook; readonly starts: StartedRun[]; readonly ends: EndedRun[] } {
  const [starts, ends]: [StartedRun[], EndedRun[]] = [[], []];
  const hook: RunHook = (run) => {
    starts.push(run);
    return (end) => void ends.push(end);
  };
  return { hook, starts, ends };
}

describe('onRun', () => {
  it('hears of a run, and how it ended', async () => {
    const { hook, starts, ends } = recorder();
    const solo = createStage().replica();
    await solo.run('job', () => pass(1_000), { onRun: hook, occurrence: at(-10), attempts: 2 });
    expect(starts).toMatchObject([
      { name: 'job', fence: 1n, attempt: 1, recovering: false, occurrence: { at: at(-10) }, startedAt: at(0) },
    ]);
    expect(ends).toEqual([{ outcome: 'done', error: undefined, durationMs: 1_000 }]);
  });

  it('hears of a failure, and that the next attempt recovers from it', async () => {
    const { hook, starts, ends } = recorder();
    const solo = createStage().replica();
    const error = new Error('no space left');
    const options = { onRun: hook, occurrence: at(-10), attempts: 2 };
    expect(await rejection(solo.run('job', () => Promise.reject(error), options))).toBe(error);
    await solo.run('job', () => {}, options);
    expect(ends).toMatchObject([{ outcome: 'failed', error }, { outcome: 'done' }]);
    expect(starts[1]).toMatchObject({ fence: 2n, attempt: 2, recovering: true });
  });

  it('hears of nothing where no handler runs', async () => {
    const { hook, starts } = recorder();
    const { replica } = createStage();
    const [a, b] = [replica(), replica()];
    const gate = deferred();
    const running = a.run('job', () => gate.promise);
    await settle();
    expect(await b.run('job', () => {}, { onRun: hook })).toMatchObject({ status: 'skipped' });
    gate.resolve();
    await running;
    await b.pause('job');
    await b.run('job', () => {}, { onRun: hook });
    await rejection(b.run('job', () => {}, { onRun: hook, onBusy: 'throw' }));
    await b.close();
    await b.run('job', () => {}, { onRun: hook });
    expect(starts).toEqual([]);
  });

  it.each([
    ['that returns all the same', () => {}],
    ['that stops because of it', () => Promise.reject(new Error('stopped'))],
  ])('hears that the lease was lost under a handler %s', async (_, then) => {
    const { hook, ends } = recorder();
    const solo = createStage(() => ({ renew: silence })).replica();
    const run = solo.run('job', () => pass(28_500).then(then), { onRun: hook });
    await rejection(run);
    expect(ends).toMatchObject([{ outcome: 'lost', durationMs: 28_500 }]);
    expect(ends[0]?.error).toBe(await rejection(run));
  });

  it('hears of a lease that another replica took', async () => {
    const { hook, ends } = recorder();
    const solo = createStage(() => ({ release: () => false })).replica();
    expect(await rejection(solo.run('job', () => {}, { onRun: hook }))).toBeInstanceOf(LeaseLostError);
    expect(ends).toMatchObject([{ outcome: 'lost' }]);
  });

  it('may be several, those of the solo first', async () => {
    const order: string[] = [];
    const named =
      (name: string): RunHook =>
      () => {
        order.push(`${name} begins`);
        return () => void order.push(`${name} ends`);
      };
    const solo = createStage().replica({ onRun: named('solo') });
    await solo.run('job', () => {}, { onRun: [named('a'), named('b')] });
    expect(order).toEqual(['solo begins', 'a begins', 'b begins', 'solo ends', 'a ends', 'b ends']);
  });

  it('is called after the first step of the handler, which nothing delays', async () => {
    const order: string[] = [];
    const solo = createStage().replica();
    await solo.run('job', () => void order.push('handler'), { onRun: () => void order.push('hook') });
    expect(order).toEqual(['handler', 'hook']);
  });

  it('is a function or several', async () => {
    const solo = createStage().replica();
    expect(() => solo.checkOptions('job', { onRun: 'http://monitor' as never })).toThrow(OptionError);
    expect(() => createStage().replica({ onRun: [undefined as never] })).toThrow(/onRun is a function or several/);
  });
});

describe('a hook', () => {
  const broken: [string, RunHook][] = [
    [
      'throws',
      () => {
        throw new Error('broke');
      },
    ],
    ['rejects', () => Promise.reject(new Error('broke'))],
    [
      'throws at the end',
      () => () => {
        throw new Error('broke');
      },
    ],
    ['rejects at the end', () => () => Promise.reject(new Error('broke'))],
  ];

  it.each(broken)('that %s changes nothing of the run, and is reported', async (_, onRun) => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { hook, ends } = recorder();
    const { provider, replica } = createStage();
    expect(await replica().run('job', () => 'value', { onRun: [onRun, hook] })).toMatchObject({ value: 'value', released: true });
    await settle();
    expect(ends).toMatchObject([{ outcome: 'done' }]);
    expect(await provider.inspect('job')).toMatchObject({ held: false });
    expect(warned.mock.calls).toMatchObject([
      [expect.stringContaining('onRun hook of "job" failed: broke'), { code: 'SOLORUN_LISTENER' }],
    ]);
  });

  it.each<[string, RunHook]>([
    ['at the start', () => silence()],
    ['at the end', () => () => silence()],
  ])('that hangs %s keeps no run waiting', async (_, onRun) => {
    const solo = createStage().replica();
    expect(await solo.run('job', () => 1, { onRun })).toMatchObject({ value: 1, released: true });
    expect(await solo.run('job', () => 2, { onRun })).toMatchObject({ value: 2 });
  });

  it('that takes its time to begin is told of the end once it has begun', async () => {
    const begun = deferred<(end: EndedRun) => void>();
    const ends: EndedRun[] = [];
    const solo = createStage().replica();
    await solo.run('job', () => {}, { onRun: () => begun.promise });
    begun.resolve((end) => void ends.push(end));
    await settle();
    expect(ends).toMatchObject([{ outcome: 'done' }]);
  });

  it('is waited for by close(), for as long as it needs', async () => {
    const solo = createStage().replica();
    const sent = deferred();
    await solo.run('job', () => {}, { onRun: () => () => sent.promise });
    let closed = false;
    const closing = solo.close().then(() => (closed = true));
    await pass(1_000);
    expect(closed).toBe(false);
    sent.resolve();
    await closing;
  });

  it('that hangs is waited for by close() for 5 s, and learns that this is over', async () => {
    const solo = createStage().replica();
    const runs: StartedRun[] = [];
    await solo.run('job', () => {}, {
      onRun: (run) => {
        runs.push(run);
        return () => silence();
      },
    });
    let closed = false;
    const closing = solo.close().then(() => (closed = true));
    await pass(4_999);
    expect([closed, runs[0]?.closed.aborted]).toEqual([false, false]);
    await pass(1);
    await closing;
    expect(runs[0]?.closed.aborted).toBe(true);
  });

  it('hears the end of a run that close() has stopped', async () => {
    const { hook, ends } = recorder();
    const solo = createStage().replica();
    const running = rejection(
      solo.run('job', ({ signal }) => new Promise((_, no) => signal.addEventListener('abort', () => no(signal.reason as Error))), {
        onRun: hook,
      }),
    );
    await settle();
    await solo.close();
    expect(await running).toBeInstanceOf(ClosedError);
    expect(ends).toMatchObject([{ outcome: 'failed' }]);
  });
});
