import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSuspendAwareClock, processClock } from '../src/index.ts';

describe("the process's clock", () => {
  it('never goes back', () => {
    let last = processClock.now();
    for (let i = 0; i < 1_000; i += 1) {
      const now = processClock.now();
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
    }
  });
});

describe('the clock that knows of suspension', () => {
  let now = 0;
  beforeEach(() => {
    now = 1_000;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  /** A machine whose uptime counts in steps of 10 ms, and goes on while it sleeps. */
  const machine = (): { uptimeMs: () => number; sleep: (ms: number) => void } => {
    let sleptMs = 0;
    return {
      uptimeMs: () => Math.floor((now + sleptMs + 123_456_789) / 10) * 10,
      sleep: (ms) => void (sleptMs += ms),
    };
  };

  it('goes on as the monotonic clock does while the machine is awake', () => {
    const { uptimeMs } = machine();
    const clock = createSuspendAwareClock(uptimeMs);
    for (let i = 0; i < 500; i += 1) {
      now += 7.3;
      expect(clock.now()).toBe(now);
    }
  });

  it('counts the time that the machine slept, to within the step of its uptime', () => {
    const { uptimeMs, sleep } = machine();
    const clock = createSuspendAwareClock(uptimeMs);
    const began = clock.now();
    for (let hour = 1; hour <= 24; hour += 1) {
      sleep(3_600_000);
      now += 1_003;
      expect(Math.abs(clock.now() - began - hour * 3_601_003)).toBeLessThanOrEqual(20);
    }
  });

  it('never goes back, not even if the uptime does', () => {
    let wobbleMs = 0;
    const clock = createSuspendAwareClock(() => now + wobbleMs);
    let last = clock.now();
    for (const ms of [0, 500, -500, 30, -30, 100_000, -100_000, 15, -15]) {
      wobbleMs = ms;
      now += 5;
      const read = clock.now();
      expect(read).toBeGreaterThanOrEqual(last);
      last = read;
    }
  });

  it('reads the uptime, which is dear, at most once in a millisecond', () => {
    const uptimeMs = vi.fn<() => number>(() => now);
    const clock = createSuspendAwareClock(uptimeMs);
    uptimeMs.mockClear();
    for (let i = 0; i < 1_000; i += 1) {
      now += 0.01;
      clock.now();
    }
    expect(uptimeMs.mock.calls.length).toBeLessThanOrEqual(11);
    expect(uptimeMs.mock.calls.length).toBeGreaterThanOrEqual(9);
  });
});
