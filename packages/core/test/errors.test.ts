import { describe, expect, it } from 'vitest';
import { describeMs, messageOf, quote, redact } from '../src/errors.ts';
import {
  ClosedError,
  CloseTimeoutError,
  LeaseLostError,
  LockBusyError,
  LockTimeoutError,
  OptionError,
  ProviderError,
  RunTimeoutError,
  SolorunError,
  UnsupportedError,
  type LossReason,
} from '../src/index.ts';

const holder = { host: 'host-a', pid: 4711, label: 'worker-3', since: new Date(0) };

describe('an error of ours', () => {
  const all: [SolorunError, string, string][] = [
    [new OptionError('x'), 'OptionError', 'SOLORUN_OPTION'],
    [new UnsupportedError('x'), 'UnsupportedError', 'SOLORUN_UNSUPPORTED'],
    [new LockBusyError('job', holder, 1), 'LockBusyError', 'SOLORUN_BUSY'],
    [new LockTimeoutError('job', holder, 1, 1), 'LockTimeoutError', 'SOLORUN_TIMEOUT'],
    [new LeaseLostError('job', 1n, 'taken'), 'LeaseLostError', 'SOLORUN_LEASE_LOST'],
    [new ProviderError('memory', 'x', 'y'), 'ProviderError', 'SOLORUN_PROVIDER'],
    [new RunTimeoutError('job', 1), 'RunTimeoutError', 'SOLORUN_RUN_TIMEOUT'],
    [new ClosedError(), 'ClosedError', 'SOLORUN_CLOSED'],
    [new CloseTimeoutError(1, ['job']), 'CloseTimeoutError', 'SOLORUN_CLOSE_TIMEOUT'],
  ];

  it.each(all)('is known by its class, its name and a code that stays: %s', (error, name, code) => {
    expect(error).toBeInstanceOf(SolorunError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name, code });
    expect(String(error)).toMatch(new RegExp(`^${name}: `, 'u'));
  });

  it('keeps its cause, and has none where there is none', () => {
    const cause = new Error('ECONNREFUSED');
    expect(new ProviderError('memory', 'x', 'y', { cause }).cause).toBe(cause);
    expect(new LockTimeoutError('job', holder, 1, 1, { cause }).cause).toBe(cause);
    expect('cause' in new ProviderError('memory', 'x', 'y')).toBe(false);
  });
});

describe('a message', () => {
  it('names the lock, who holds it, for how long, and what to do', () => {
    expect(new LockBusyError('nightly-report', undefined, undefined, true).message).toMatch(
      /its provider has just come back, and grants nothing/,
    );
    expect(new LockBusyError('nightly-report', holder, 41_000).message).toBe(
      'Cannot acquire "nightly-report": held by worker-3@host-a (pid 4711) for 41 s. ' +
        `Wait for it (onBusy: 'wait'), skip this run (onBusy: 'skip'), or look with inspect("nightly-report").`,
    );
    expect(new LockTimeoutError('nightly-report', { ...holder, label: undefined }, 41_000, 10_000).message).toBe(
      'Cannot acquire "nightly-report": held by host-a (pid 4711) for 41 s, gave up after 10000 ms.',
    );
    expect(new LockTimeoutError('nightly-report', undefined, undefined, 10_000).message).toContain('held by an unknown holder,');
    expect(new LockTimeoutError('nightly-report', undefined, undefined, 10_000, { settling: true }).message).toMatch(
      /its provider has just come back, and grants nothing .*, gave up after 10000 ms/,
    );
    expect(new CloseTimeoutError(30_000, ['a', 'b']).message).toContain('Still running after 30000 ms: "a", "b".');
    expect(new RunTimeoutError('nightly-report', 60_000).message).toContain('longer than maxRunMs = 60000');
  });

  it.each(['expired', 'taken', 'session', 'released'] as LossReason[])('says what it means that a lease is %s', (reason) => {
    const error = new LeaseLostError('job', 7n, reason, { result: 42 });
    expect(error).toMatchObject({ lock: 'job', fence: 7n, reason, result: 42 });
    expect(error.message).toMatch(/^Lost "job" \(fence 7\): .{10,}\.$/u);
  });

  it('shows a name on one line, and not the whole of a long one', () => {
    expect(quote('a\nb"c\u001B[31m')).toBe(String.raw`"a\nb\"c\u001b[31m"`);
    expect(quote('x'.repeat(80))).toBe(`"${'x'.repeat(80)}"`);
    expect(quote('🔒'.repeat(81))).toBe(`"${'🔒'.repeat(80)}…"`);
    expect(quote('\uD800')).toBe(String.raw`"\ud800"`);
  });

  it.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [1_000, '1 s'],
    [119_000, '119 s'],
    [120_000, '2 min'],
    [7_200_000, '2 h'],
    [86_400_000, '24 h'],
  ])('tells %d ms as a person would', (ms, words) => {
    expect(describeMs(ms)).toBe(words);
  });
});

describe('what was thrown', () => {
  it.each([
    [new Error('broke'), 'broke'],
    ['broke', 'broke'],
    [undefined, 'undefined'],
    [null, 'null'],
    [42, '42'],
    [Symbol('broke'), 'Symbol(broke)'],
    [{ code: 7 }, '{ code: 7 }'],
    [Object.create(null), '[Object: null prototype] {}'],
    [Object.assign(new Error(), { message: { code: 7 } }), '{ code: 7 }'],
    [
      {
        toString() {
          throw new Error('no');
        },
      },
      '{ toString: [Function: toString] }',
    ],
  ])('always says something: %o', (thrown, words) => {
    expect(messageOf(thrown)).toBe(words);
  });
});

describe('text that other people wrote', () => {
  it.each([
    ['postgres://me:geheim@db.internal/app', 'postgres://***@db.internal/app'],
    ['connect to redis://:geheim@10.0.0.1:6379/0 failed', 'connect to redis://***@10.0.0.1:6379/0 failed'],
    ['mongodb+srv://me:geheim@cluster', 'mongodb+srv://***@cluster'],
    ['postgres://me:ge@heim@db/app', 'postgres://***@db/app'],
    ['postgres://me:ge/heim@db/app', 'postgres://***@db/app'],
    ['postgres://a:geheim@x/1 and postgres://b:geheim@y/2', 'postgres://***@x/1 and postgres://***@y/2'],
    [`postgres://me:${'geheim'.repeat(500)}@db/app`, 'postgres://***@db/app'],
    ['https://geheim@github.com/x', 'https://***@github.com/x'],
    ['postgres://db/app?user=me&password=geheim&ssl=1', 'postgres://db/app?user=me&password=***&ssl=1'],
    ['host=db password=geheim dbname=app', 'host=db password=*** dbname=app'],
    ["host=db password = 'ge heim' dbname=app", 'host=db password = *** dbname=app'],
    ['PGPASSWORD=geheim psql', 'PGPASSWORD=*** psql'],
    ['DB_PASSWORD: geheim', 'DB_PASSWORD: ***'],
    ['{"accessKey":"geheim","x":1}', '{"accessKey":***,"x":1}'],
    ["{ secret: 'geheim', x: 1 }", '{ secret: ***, x: 1 }'],
    ['AWS_SECRET_ACCESS_KEY=geheim', 'AWS_SECRET_ACCESS_KEY=***'],
    ['?access_token=geheim&x=1', '?access_token=***&x=1'],
    ['passwd: "geheim', 'passwd: ***'],
    ['api-key: geheim', 'api-key: ***'],
    ['Authorization: Bearer geheim, x', 'Authorization: Bearer ***, x'],
  ])('loses its credentials: %s', (text, masked) => {
    expect(redact(text)).toBe(masked);
    expect(redact(text)).not.toContain('heim');
  });

  it.each([
    'connect ECONNREFUSED 127.0.0.1:5432',
    'password authentication failed for user "me"',
    'see https://example.com/a@b and mail me@example.com',
    'Unexpected token } in JSON at position 3',
    'no such file: /var/lib/app/locks/job@host',
  ])('stays as it is where there are none: %s', (text) => {
    expect(redact(text)).toBe(text);
  });

  it.each(['a-', 'token', 'password ', 'x://', 'a:', '"', "secret='"])('may be a megabyte of %j', (piece) => {
    const text = piece.repeat(1_000_000 / piece.length);
    expect(redact(text).length).toBeGreaterThan(0);
  });

  it('is masked in the message of a provider’s error', () => {
    expect(new ProviderError('redis', 'acquire "job"', 'redis://:geheim@host: ECONNRESET').message).toBe(
      'redis: cannot acquire "job": redis://***@host: ECONNRESET',
    );
  });
});
