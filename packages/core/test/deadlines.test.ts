import { spawnSync } from 'node:child_process';
import { expect, it, vi } from 'vitest';
import { Deadlines, type DeadlinesTerms } from '../src/deadlines.ts';

interface Question {
  readonly name: string;
  dueAt: number;
}

/** Deadlines that note what expires, and keep no process alive. */
function deadlines(terms: Partial<DeadlinesTerms<Question>> = {}) {
  const expired: string[] = [];
  const made = new Deadlines<Question>({
    dueAt: ({ dueAt }) => dueAt,
    expire(question) {
      expired.push(question.name);
      made.delete(question);
    },
    ...terms,
  });
  const add = (name: string, ms: number): Question => {
    const question = { name, dueAt: performance.now() + ms };
    made.add(question);
    return question;
  };
  return { made, expired, add };
}

it('expires each question at its own deadline, whatever the order of asking', async () => {
  const { made, expired, add } = deadlines();
  add('late', 60);
  add('soon', 20);
  await vi.waitFor(() => expect(expired).toEqual(['soon', 'late']));
  expect(made.size).toBe(0);
});

it('leaves alone what was answered, and what is not due yet', async () => {
  const { made, expired, add } = deadlines();
  const answered = add('answered', 20);
  const later = add('later', 3_600_000);
  add('due', 20);
  made.delete(answered);
  made.delete(answered);
  await vi.waitFor(() => expect(expired).toEqual(['due']));
  made.delete(later);
});

it('waits on for a deadline that has moved', async () => {
  const { expired, add } = deadlines();
  const moved = add('moved', 20);
  add('due', 25);
  moved.dueAt += 60;
  await vi.waitFor(() => expect(expired).toEqual(['due', 'moved']));
});

it('gives back all that wait, none of which expires any more', async () => {
  const { made, expired, add } = deadlines();
  add('first', 10);
  add('second', 10);
  expect(made.clear().map(({ name }) => name)).toEqual(['first', 'second']);
  add('third', 20);
  await vi.waitFor(() => expect(expired).toEqual(['third']));
});

it('reads what has arrived during a stall before anything expires', async () => {
  const { made, expired, add } = deadlines({ readFirst: true });
  const answered = add('answered', 10);
  add('silent', 10);
  setTimeout(() => setImmediate(() => made.delete(answered)), 5);
  const until = performance.now() + 40;
  while (performance.now() < until);
  await vi.waitFor(() => expect(expired).toEqual(['silent']));
});

it.each([
  [true, 'expired'],
  [false, ''],
])('keeps the process alive only for questions that say so (%s)', (keepsAlive, said) => {
  const source = `
    const { Deadlines } = await import(${JSON.stringify(new URL('../dist/deadlines.js', import.meta.url).href)});
    const due = performance.now() + 200;
    const made = new Deadlines({ dueAt: () => due, keepsAlive: () => ${keepsAlive}, expire: (one) => { made.delete(one); console.log('expired'); } });
    made.add('question');
  `;
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', source], { encoding: 'utf8' });
  expect([stdout.trim(), status]).toEqual([said, 0]);
});
