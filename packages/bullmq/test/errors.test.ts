import { LeaseLostError } from '@solorun/core';
import { describe, expect, it } from 'vitest';
import { sendable, type JobStoppedError } from '../src/errors.ts';
import { handOut } from '../src/hand-out.ts';
import { scheduledInstant } from '../src/scheduled.ts';

it.each([undefined, '', { odd: true }])('a job that is cancelled is told so where no words are given: %o', (words) => {
  const controller = new AbortController();
  const out = handOut({ id: '7' }, 'token', controller.signal);
  controller.abort(words);
  expect((out.signal.reason as Error).message).toBe('Job 7 was asked to stop: it was cancelled.');
  out.end();
});

it('a job that is cancelled for a reason is told it, whatever it is', () => {
  const reasons = ['the customer left', new Error('no credit'), { ticket: 7 }, null];
  const told = reasons.map((why) => {
    const controller = new AbortController();
    const out = handOut({ id: '7' }, 'token', controller.signal);
    controller.abort(why);
    out.end();
    return out.signal.reason as JobStoppedError;
  });
  expect(told.map(({ cause }) => cause)).toEqual(reasons);
  expect(told.map(({ message }) => message.split(': ')[1])).toEqual([
    'the customer left.',
    'no credit.',
    'it was cancelled.',
    'it was cancelled.',
  ]);
});

describe('an error on its way out of the process of a sandboxed processor', () => {
  /** What the worker gets of it: BullMQ sends an error's own properties as JSON. */
  const arrived = (error: unknown): Record<string, unknown> => {
    const sent = sendable(error) as Error;
    const own = Object.fromEntries(Object.getOwnPropertyNames(sent).map((name) => [name, sent[name as keyof Error]]));
    return JSON.parse(JSON.stringify(own)) as Record<string, unknown>;
  };

  it('keeps what it carries, with a fence as text and the error behind it', () => {
    const lost = new LeaseLostError('x', 7n, 'taken', { cause: new TypeError('why', { cause: 'because' }), result: { rows: 3n } });
    expect(arrived(lost)).toEqual({
      name: 'LeaseLostError',
      message: lost.message,
      stack: lost.stack,
      code: 'SOLORUN_LEASE_LOST',
      lock: 'x',
      fence: '7',
      reason: 'taken',
      result: { rows: '3' },
      cause: { name: 'TypeError', message: 'why', stack: expect.any(String) as string, cause: 'because' },
    });
  });

  it('that refers to itself keeps the rest', () => {
    const response = { status: 503, retryAfter: 30n, headers: {} as object };
    const error = Object.assign(new Error('away'), { code: 'ERR_BAD_RESPONSE', response, errors: [new RangeError('one')] });
    response.headers = { of: response, by: error };
    expect(arrived(error)).toMatchObject({
      message: 'away',
      code: 'ERR_BAD_RESPONSE',
      response: { status: 503, retryAfter: '30', headers: { of: '[Circular]', by: '[Circular]' } },
      errors: [{ name: 'RangeError', message: 'one' }],
    });
  });

  it('loses the one property that cannot be told, and says why', () => {
    const toJSON = (): never => {
      throw new Error('no');
    };
    const error = Object.defineProperty(Object.assign(new Error('away'), { errno: 28, socket: { toJSON } }), 'late', {
      get: toJSON,
    });
    expect(arrived(error)).toMatchObject({ errno: 28, socket: '[not sent: no]', late: '[not sent: no]' });
  });

  it('is left as it is when it is no error', () => {
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
