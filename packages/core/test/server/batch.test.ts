import { describe, expect, it } from 'vitest';
import { createBatch, Failure, oneAtATime } from '../../src/server/index.ts';

/** A batch whose statements are kept, and answered with what `answer` makes of each question. */
function stage<A>(
  answer: (question: number) => A | Failure | Promise<A>,
  { most, turn = oneAtATime('connection') }: { most?: number; turn?: Parameters<typeof createBatch<number, A, string>>[0] } = {},
): { ask: ReturnType<typeof createBatch<number, A, string>>['ask']; sent: (readonly number[])[] } {
  const sent: (readonly number[])[] = [];
  const batch = createBatch<number, A, string>(
    turn,
    async (_means, questions) => {
      sent.push(questions);
      await new Promise((resolve) => setImmediate(resolve));
      return questions.map(answer);
    },
    most,
  );
  return { ask: (question, signal) => batch.ask(question, signal), sent };
}

describe('a batch', () => {
  it('sends what is asked in one turn in one statement, and answers each question with its own answer', async () => {
    const { ask, sent } = stage((n) => n * 10);
    expect(await Promise.all([ask(1), ask(2), ask(3)])).toEqual([10, 20, 30]);
    expect(sent).toEqual([[1, 2, 3]]);
  });

  it('gathers what is asked while a statement is under way for the next one', async () => {
    const { ask, sent } = stage((n) => n);
    const first = ask(1);
    await new Promise((resolve) => process.nextTick(resolve));
    await Promise.all([first, ask(2), ask(3)]);
    expect(sent).toEqual([[1], [2, 3]]);
  });

  it('sends no more than it may in one statement', async () => {
    const { ask, sent } = stage((n) => n, { most: 2 });
    expect(await Promise.all([1, 2, 3, 4, 5].map((n) => ask(n)))).toEqual([1, 2, 3, 4, 5]);
    expect(sent).toEqual([[1, 2], [3, 4], [5]]);
  });

  it('fails one question alone that was alone at fault', async () => {
    const { ask } = stage((n) => (n === 2 ? new Failure(new Error('two')) : n));
    const answers = await Promise.allSettled([ask(1), ask(2), ask(3)]);
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  it('answers by a promise where one comes by itself, and does not wait for it with the others', async () => {
    const { ask } = stage((n) => (n === 1 ? new Promise<number>(() => {}) : n));
    void ask(1);
    expect(await ask(2)).toBe(2);
  });

  it('fails all whose statement failed', async () => {
    const batch = createBatch<number, number, undefined>(oneAtATime(undefined), () => Promise.reject(new Error('away')));
    for (const { status } of await Promise.allSettled([batch.ask(1), batch.ask(2)])) expect(status).toBe('rejected');
  });

  it('fails all that wait when there is no turn for them', async () => {
    const { ask } = stage((n) => n, { turn: () => Promise.reject(new Error('the connection has ended')) });
    for (const answer of await Promise.allSettled([ask(1), ask(2)])) {
      expect(answer).toMatchObject({ status: 'rejected', reason: { message: 'the connection has ended' } });
    }
  });

  it('does not send a question that was given up before, and waits for one that was sent', async () => {
    const { ask, sent } = stage((n) => n);
    const [early, late] = [new AbortController(), new AbortController()];
    const given = Promise.allSettled([ask(1, early.signal), ask(2, late.signal)]);
    early.abort(new Error('given up'));
    await new Promise((resolve) => setImmediate(resolve));
    late.abort();
    expect(await given).toMatchObject([
      { status: 'rejected', reason: { message: 'given up' } },
      { status: 'fulfilled', value: 2 },
    ]);
    expect(sent).toEqual([[2]]);
  });

  it('sends nothing when all were given up', async () => {
    const { ask, sent } = stage((n) => n);
    await expect(ask(1, AbortSignal.abort(new Error('given up')))).rejects.toThrow('given up');
    expect(sent).toEqual([]);
  });
});

describe('one at a time', () => {
  it('begins no job before the last one has ended, also when that failed', async () => {
    const turn = oneAtATime('means');
    const told: string[] = [];
    const job =
      (name: string, error?: Error) =>
      async (means: string): Promise<void> => {
        told.push(`${name} begins with ${means}`);
        await new Promise((resolve) => setImmediate(resolve));
        told.push(`${name} ends`);
        if (error !== undefined) throw error;
      };
    const [first, second] = [turn(job('first', new Error('no'))), turn(job('second'))];
    await expect(first).rejects.toThrow('no');
    await second;
    expect(told).toEqual(['first begins with means', 'first ends', 'second begins with means', 'second ends']);
  });
});
