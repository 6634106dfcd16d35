import { LeaseLostError } from '@solorun/core';
import { describe, expect, it } from 'vitest';
import { sendable } from '../src/errors.ts';
import { handOut } from '../src/hand-out.ts';
import { scheduledInstant } from '../src/scheduled.ts';

it.each([undefined, '', { odd: true }])('a job that is cancelled is told so where no words are given: %o', (words) => {
  const controller = new AbortController();
  const out = handOut({ id: '7' }, 'token', controller.signal);
  controller.abort(words);
  expect((out.signal.reason as Error).message).toBe('Job 7 was asked to stop: it was cancelled.');
  out.end();
});

describe('an error on its way out of the process of a sandboxed processor', () => {
  it('loses what JSON cannot hold, and keeps its name, message and code', () => {
    const lost = new LeaseLostError('x', 7n, 'taken', { cause: new Error('why') });
    const sent = sendable(lost) as Error;
    expect(sent).toMatchObject({ name: 'LeaseLostError', message: lost.message, code: 'SOLORUN_LEASE_LOST', stack: lost.stack });
    expect(() => JSON.stringify(Object.getOwnPropertyNames(sent).map((name) => sent[name as keyof Error]))).not.toThrow();
  });

  it('is left as it is otherwise', () => {
    const error = Object.assign(new Error('disk full'), { errno: 28 });
    expect(sendable(error)).toBe(error);
    expect(sendable('text')).toBe('text');
  });
});

describe('the instant of a scheduler’s job', () => {
  it.each([
    ['nightly', 'repeat:nightly:1700000000000', 1_700_000_000_000],
    ['a:b:c', 'repeat:a:b:c:1700000000000', 1_700_000_000_000],
    ['nightly', 'repeat:hourly:1700000000000', undefined],
    ['nightly', 'repeat:nightly:soon', undefined],
    ['nightly', '17', undefined],
    [undefined, 'repeat:undefined:1700000000000', undefined],
    ['', 'repeat::1700000000000', undefined],
  ])('scheduler %o, id %o', (repeatJobKey, id, at) => {
    expect(scheduledInstant({ repeatJobKey, id })?.getTime()).toBe(at);
  });

  it('is none when the job was promoted before its time', () => {
    const now = Date.now();
    const at = (ms: number): Date | undefined => scheduledInstant({ repeatJobKey: 'x', id: `repeat:x:${now + ms}` }, now);
    expect([at(59_000) === undefined, at(120_000) === undefined]).toEqual([false, true]);
  });
});
