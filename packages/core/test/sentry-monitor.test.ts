import { describe, expect, it, vi } from 'vitest';
import { OptionError, sentryMonitor, type SentryCheckIns } from '../src/index.ts';
import { createStage, pass, rejection, settle, useFakeTime } from './stage.ts';

useFakeTime();

function sentry(): SentryCheckIns<{ schedule: string }> & { readonly calls: unknown[][] } {
  const calls: unknown[][] = [];
  return { calls, captureCheckIn: (...call) => `id ${calls.push(call)}` };
}

describe('sentryMonitor', () => {
  it('checks in at the start of a run and at its end, in seconds', async () => {
    const sdk = sentry();
    const config = { schedule: 'nightly' };
    await createStage()
      .replica()
      .run('job', () => pass(1_500), { onRun: sentryMonitor(sdk, { slug: 'backup', config }) });
    expect(sdk.calls).toEqual([
      [{ monitorSlug: 'backup', status: 'in_progress' }, config],
      [{ monitorSlug: 'backup', status: 'ok', checkInId: 'id 1', duration: 1.5 }],
    ]);
  });

  it('reports a failure, under the slug that a function tells', async () => {
    const sdk = sentry();
    const solo = createStage().replica({ onRun: sentryMonitor(sdk, { slug: ({ name }) => `of-${name}` }) });
    await rejection(solo.run('job', () => Promise.reject(new Error('no'))));
    expect(sdk.calls[1]).toMatchObject([{ monitorSlug: 'of-job', status: 'error', checkInId: 'id 1' }]);
  });

  it('fails no run where Sentry does', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const broken = {
      captureCheckIn: () => {
        throw new Error('no client');
      },
    };
    expect(
      await createStage()
        .replica()
        .run('job', () => 1, { onRun: sentryMonitor(broken, { slug: 'x' }) }),
    ).toMatchObject({ value: 1 });
    await settle();
    expect(warned).toHaveBeenCalledTimes(1);
  });

  it('needs the SDK and a slug', () => {
    expect(() => sentryMonitor({} as never, { slug: 'x' })).toThrow(OptionError);
    expect(() => sentryMonitor(sentry(), { slug: '' })).toThrow(/slug/);
    expect(() => sentryMonitor(sentry(), { slgu: 'x' } as never)).toThrow(/did you mean slug/);
  });
});
