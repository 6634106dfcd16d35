import { describe, expect, it } from 'vitest';
import { unreachable } from '../../src/server/index.ts';

describe('a server that does not answer', () => {
  it('is found unreachable, with the reason that there is', () => {
    const says = (error: unknown): string => unreachable(error).says;
    expect(says(new Error('connect ECONNREFUSED'))).toBe('cannot be reached: connect ECONNREFUSED');
    expect(says(Object.assign(new AggregateError([]), { code: 'ETIMEDOUT' }))).toBe('cannot be reached: ETIMEDOUT');
    expect(says(new Error(''))).toBe('cannot be reached: no reason given');
    expect(unreachable(new Error('away'))).toMatchObject({ check: 'server', state: 'unreachable' });
  });
});

it.each([
  [{ code: '28P01', message: 'password authentication failed' }, 'password authentication failed'],
  [{ code: '3D000', message: 'database "x" does not exist' }, 'database "x" does not exist'],
  [{ message: 'WRONGPASS invalid password' }, 'WRONGPASS invalid password'],
])('a server that refuses a login is told from one that cannot be reached: %j', (more, why) => {
  const error = Object.assign(new Error(more.message), more);
  expect(unreachable(error).says).toBe(`lets nobody in with this login: ${why}`);
});
