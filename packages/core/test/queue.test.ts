import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { memory } from '../src/memory.ts';
import { queueOf, type Place } from '../src/queue.ts';
import { settle, useFakeTime, watch } from './stage.ts';

useFakeTime();

const { signal: never } = new AbortController();
const positions = (places: readonly Place[]): boolean[] => places.map((place) => place.isHead());

describe('the queue of a provider', () => {
  it('is one for all that ask for it, and another one for another provider', () => {
    const provider = memory();
    expect(queueOf(provider)).toBe(queueOf(provider));
    expect(queueOf(memory())).not.toBe(queueOf(provider));
  });

  it('serves those first who came first, and each name by itself', async () => {
    const queue = queueOf(memory());
    const places = [queue.enter('a'), queue.enter('a'), queue.enter('a')];
    expect(positions(places)).toEqual([true, false, false]);
    expect(queue.enter('b').isHead()).toBe(true);
    const heads = places.map((place) => watch(place.head(never)));
    await settle();
    expect(heads.map(({ state }) => state)).toEqual(['resolved', 'pending', 'pending']);
    places[0]!.leave();
    await settle();
    expect(heads.map(({ state }) => state)).toEqual(['resolved', 'resolved', 'pending']);
  });

  it('closes up when one leaves who was not its head, and bears a second leaving', async () => {
    const queue = queueOf(memory());
    const [first, second, third] = [queue.enter('a'), queue.enter('a'), queue.enter('a')];
    const waiting = watch(third.head(never));
    second.leave();
    second.leave();
    await settle();
    expect(waiting.state).toBe('pending');
    first.leave();
    await settle();
    expect(waiting.state).toBe('resolved');
  });

  it('lets a place wait no longer than its signal, and leaves no listener', async () => {
    const queue = queueOf(memory());
    const head = queue.enter('a');
    const place = queue.enter('a');
    const controller = new AbortController();
    const waiting = watch(place.head(controller.signal));
    controller.abort();
    await settle();
    expect(waiting.state).toBe('resolved');
    expect(place.isHead()).toBe(false);
    const other = new AbortController();
    const next = watch(place.head(other.signal));
    head.leave();
    await settle();
    expect(next.state).toBe('resolved');
    expect(getEventListeners(other.signal, 'abort')).toEqual([]);
  });

  it('wakes its head alone, by what it gave last, when the name comes free here', () => {
    const queue = queueOf(memory());
    const heard: string[] = [];
    const [first, second] = [queue.enter('a'), queue.enter('a')];
    first.onFreed(() => heard.push('old'));
    first.onFreed(() => heard.push('first'));
    second.onFreed(() => heard.push('second'));
    queue.freed('a');
    queue.freed('b');
    expect(heard).toEqual(['first']);
    first.leave();
    queue.freed('a');
    expect(heard).toEqual(['first', 'second']);
  });

  it('begins anew with a name that all had left', () => {
    const queue = queueOf(memory());
    queue.enter('a').leave();
    expect(queue.enter('a').isHead()).toBe(true);
  });
});
