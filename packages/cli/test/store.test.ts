import { describe, expect, it } from 'vitest';
import { parseStore } from '../src/store.ts';

describe('a store', () => {
  it.each([
    ['file:/var/lib/app/locks', 'file:/var/lib/app/locks', 'file'],
    ['file:locks', 'file:locks', 'file'],
    ['file:///var/lib/a%20b', 'file:/var/lib/a b', 'file'],
    ['postgres://u:p%40ss@db:5433/app?sslmode=require', 'postgres://db:5433/app', 'postgres'],
    ['postgresql://db/app', 'postgres://db/app', 'postgres'],
    ['postgres+lease://u:secret@db/app', 'postgres+lease://db/app', 'postgres+lease'],
    ['postgresql+lease://u:secret@db/app', 'postgres+lease://db/app', 'postgres+lease'],
    ['redis://:secret@cache:6379/2', 'redis://cache:6379/2', 'redis'],
    ['rediss://u:secret@cache', 'redis://cache', 'redis'],
    ['redis://cache/2?settle=90s', 'redis://cache/2', 'redis'],
    ['postgres://u:secret@db/app?sslmode=require&settle=0s', 'postgres://db/app', 'postgres'],
    ['memory:', 'memory:', 'memory'],
    // What stands before an @ may be a password, wherever that is.
    ['postgres://app:12?secret@db/app', 'postgres://…', 'postgres'],
    ['postgres://app:secret/tail@db/app', 'postgres://…', 'postgres'],
    ['postgres://db/app?user=me@tenant', 'postgres://…', 'postgres'],
    ['redis://:secret#tail@cache', 'redis://…', 'redis'],
  ])('%s is understood, and shown without its secrets', (url, shown, scheme) => {
    expect(parseStore(url, {})).toMatchObject({ shown, scheme });
  });

  it.each([
    ['', 'A store is a URL'],
    ['locks', 'A store is a URL'],
    ['/var/locks', 'write file:/var/locks'],
    ['./locks', 'write file:./locks'],
    ['//u:secret@host/db', 'A store is a URL, such as'],
    ['file:', 'needs a directory'],
    ['file://host/locks', 'no directory of this machine'],
    ['redis://:secret@cache?settle=soon', 'settle= of the store "soon": that is no time'],
    ['postgres://u:secret@db/app?settle=soon', 'settle= of the store "soon": that is no time'],
    ['postgres+lease://u:secret@db/app?settle=0s', 'no settle= for postgres+lease://'],
    ['file://u:secret@host/locks', 'no directory of this machine'],
    ['postgres://app:5432/secret@db/app', 'write %2F for /'],
    ['postgres+lease://app:5432/secret@db/app', 'write %2F for /'],
    ['postgres://app:5432#secret@db/app', '%23 for #'],
    ['redis://app:6379/secret@cache', 'write %2F for /'],
    ['redis://app:6379#secret@cache?settle=0s', '%23 for #'],
    ['s3://bucket/prefix', 'no store for s3: yet'],
    ['ftp://u:secret@host', 'no store for ftp:'],
  ])('%j is refused in a word that helps', (url, words) => {
    expect(() => parseStore(url, {})).toThrow(words);
    expect(() => parseStore(url, {})).not.toThrow('secret');
  });

  it.each([
    ['postgres://u@a:1,b:2/app?settle=90s', 'postgres://u@a:1,b:2/app'],
    [
      'postgres://u@db/app?sslmode=require&settle=0s&application_name=a%20b',
      'postgres://u@db/app?sslmode=require&application_name=a%20b',
    ],
    ['redis://cache/2?settle=90s&family=6', 'redis://cache/2?family=6'],
  ])('%s hands the driver all but settle=', (url, connectionString) => {
    expect(parseStore(url, {})).toMatchObject({ connectionString });
  });

  it.runIf(process.platform === 'linux')("is by default a directory of this user's, where XDG wants it", () => {
    expect(parseStore(undefined, { XDG_STATE_HOME: '/state' }).shown).toBe('file:/state/solorun');
    expect(parseStore(undefined, { XDG_STATE_HOME: 'relative' }).shown).toMatch(/^file:\/.*\/\.local\/state\/solorun$/);
    expect(parseStore(undefined, {}).shown).toMatch(/^file:\/.*\/\.local\/state\/solorun$/);
  });
});
