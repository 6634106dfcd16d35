import { describe, expect, it, vi } from 'vitest';
import { OptionError } from '../../src/errors.ts';
import { neverSent } from '../../src/server/sent.ts';
import { Questions, type QuestionsTerms } from '../../src/server/questions.ts';

const one = { name: 'x', owner: 'a' };
const isGrant = (answer: string): boolean => answer === 'granted';
const live = new AbortController().signal;

function questions(terms: Partial<QuestionsTerms<string>> = {}) {
  const release = vi.fn<QuestionsTerms<string>['release']>(async () => true);
  return { release, made: new Questions<string>({ release, ...terms }) };
}

describe('an answer', () => {
  it('is handed on, and nothing is taken back', async () => {
    const { made, release } = questions();
    expect(await made.answer(one, Promise.resolve('granted'), isGrant, live)).toBe('granted');
    expect(made.doubt('x', live)).toBeUndefined();
    expect(release).not.toHaveBeenCalled();
  });

  it.each([
    ['granted', 1],
    ['refused', 0],
  ])('that comes after the caller has gone (%s) is taken back %i times', async (answer, times) => {
    const { made, release } = questions();
    const caller = new AbortController();
    const asking = made.answer(one, Promise.resolve(answer), isGrant, caller.signal);
    caller.abort(new Error('gone'));
    await expect(asking).rejects.toThrow('gone');
    await made.doubt('x', live);
    expect(release).toHaveBeenCalledTimes(times);
  });
});

describe('an answer that comes as the caller goes', () => {
  it.each(Array.from({ length: 12 }, (_, turns) => turns))("is the caller's or is taken back, %i turns later", async (turns) => {
    const { made, release } = questions();
    const caller = new AbortController();
    let grant: (said: string) => void = () => {};
    const asking = new Promise<string>((resolve) => (grant = resolve));
    let outcome = '';
    const answered = made.answerSoon(one, asking, isGrant, caller.signal).then(
      () => (outcome = 'granted'),
      () => (outcome = 'gone'),
    );
    grant('granted');
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    caller.abort(new Error('gone'));
    await answered;
    await made.doubt('x', live);
    expect([outcome, release.mock.calls.length]).toEqual(outcome === 'granted' ? ['granted', 0] : ['gone', 1]);
  });

  it('is waited for no longer than the caller waits, and taken back when it comes', async () => {
    const { made, release } = questions();
    const caller = new AbortController();
    let grant: (said: string) => void = () => {};
    const asking = new Promise<string>((resolve) => (grant = resolve));
    const answered = made.answerSoon(one, asking, isGrant, caller.signal);
    caller.abort(new Error('gone'));
    await expect(answered).rejects.toThrow('gone');
    expect(release).not.toHaveBeenCalled();
    grant('granted');
    await vi.waitFor(() => expect(release).toHaveBeenCalledOnce());
  });

  it('is taken back if its question failed and may have been carried out', async () => {
    const { made, release } = questions();
    await expect(made.answerSoon(one, Promise.reject(new Error('cut')), isGrant, live)).rejects.toThrow('cut');
    await made.doubt('x', live);
    expect(release).toHaveBeenCalledOnce();
  });
});

describe('a question that failed', () => {
  it('may have been carried out: it is taken back, and the connection that ended is named', async () => {
    const { made, release } = questions({ lostBy: () => 'connection 1' });
    await expect(made.answer(one, Promise.reject(new Error('cut')), isGrant, live)).rejects.toThrow('cut');
    await made.doubt('x', live);
    expect(release).toHaveBeenCalledWith('x', 'a', 'connection 1');
  });

  it.each([
    ['was never sent', neverSent(new Error('no connection'))],
    ['was refused here', new OptionError('no')],
    ['was refused by the server', new Error('answered')],
  ])('is not taken back if it %s', async (_, error) => {
    const { made } = questions({ mayHaveRun: ({ message }: Error) => message !== 'answered' } as QuestionsTerms<string>);
    await expect(made.answer(one, Promise.reject(error), isGrant, live)).rejects.toBe(error);
    expect(made.doubt('x', live)).toBeUndefined();
  });

  it('is not taken back if its caller withdrew it before it was sent', async () => {
    const { made } = questions();
    const reason = new Error('gone');
    await expect(made.answer(one, Promise.reject(reason), isGrant, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(made.doubt('x', live)).toBeUndefined();
  });
});

it('keeps the next try for a name waiting until the doubt is settled, or that try is given up', async () => {
  let settle: (found: boolean) => void = () => {};
  const { made } = questions({ release: () => new Promise((resolve) => (settle = resolve)) });
  made.takeBack('x', 'a');
  const caller = new AbortController();
  const given = made.doubt('x', caller.signal);
  caller.abort(new Error('gone'));
  await expect(given).rejects.toThrow('gone');
  const waited = made.doubt('x', live);
  expect(made.doubt('y', live)).toBeUndefined();
  settle(true);
  await waited;
});

describe('a close', () => {
  it('lets go only when what was under way is over, and what came of it is taken back', async () => {
    const order: string[] = [];
    const { made } = questions({
      release: async () => {
        order.push('taken back');
        return true;
      },
    });
    let answer: (said: string) => void = () => {};
    const caller = new AbortController();
    const asking = made.answer(one, new Promise<string>((resolve) => (answer = resolve)), isGrant, caller.signal);
    caller.abort(new Error('gone'));
    const closed = made.close(async () => void order.push('let go'));
    expect(made.isClosed).toBe(true);
    answer('granted');
    await expect(asking).rejects.toThrow('gone');
    await closed;
    expect(order).toEqual(['taken back', 'let go']);
  });

  it('ends once, however often it is asked for, and nothing is asked afterwards', async () => {
    const { made } = questions();
    const letGo = vi.fn<() => Promise<void>>(async () => {});
    made.checkOpen(live);
    await Promise.all([made.close(letGo), made.close(letGo)]);
    expect(letGo).toHaveBeenCalledTimes(1);
    expect(() => made.checkOpen()).toThrow('the provider is closed');
    expect(() => made.checkOpen(AbortSignal.abort(new Error('gone')))).toThrow('gone');
  });
});
