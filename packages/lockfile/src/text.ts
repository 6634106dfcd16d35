/** On one line, with spaces: people read it. */
export function onOneLine(value: object | undefined): string | undefined {
  return value && JSON.stringify(value, undefined, 1).replaceAll(/\n */g, ' ');
}

const texts = new WeakMap<object, string>();

/** A process describes itself by the same object, and so by the same text, each time. The value must not change. */
export function sameAsBefore(value: object): string {
  let text = texts.get(value);
  if (text === undefined) texts.set(value, (text = onOneLine(value)!));
  return text;
}

/** A record repeats most moments of the one before it. */
const moments = new Map<number, string>();

/** A moment in JSON. */
export function iso(ms: number | undefined): string | undefined {
  if (ms === undefined) return undefined;
  let text = moments.get(ms);
  if (text === undefined) {
    if (moments.size >= 64) moments.clear();
    moments.set(ms, (text = `"${new Date(ms).toISOString()}"`));
  }
  return text;
}

/** A moment that was read, in ms. Undefined: it is none. */
export function time(value: unknown): number | undefined {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}
