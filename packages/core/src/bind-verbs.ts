/**
 * An object with the verbs of an instance as properties of its own, bound to it. Users wrap providers and stores as
 * `{ ...provider, renew }` and take verbs off (`const { run } = solo`): a spread copies no method of a class, and a verb without its
 * instance could not read the private fields. Getters stay getters, so that `guarantees` is still read at each call.
 */
export function bindVerbs<T extends object>(instance: T): { [Name in keyof T]: T[Name] } {
  const bound: object = { ...instance };
  const verbs = Object.getPrototypeOf(instance) as object;
  for (const name of Reflect.ownKeys(verbs)) {
    if (name === 'constructor') continue;
    const verb = Object.getOwnPropertyDescriptor(verbs, name)!;
    const property =
      verb.get === undefined
        ? { value: (verb.value as () => unknown).bind(instance), writable: true }
        : { get: verb.get.bind(instance) };
    Object.defineProperty(bound, name, { ...property, enumerable: true, configurable: true });
  }
  return bound as T;
}
