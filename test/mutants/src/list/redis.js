// @ts-check

/** @import { Mutant } from '../mutant.js' */

/** @param {string} file @param {string} test */
const by = (file, test) => ({ project: 'redis', file: `test/${file}.test.ts`, test });
/** @param {string} test */
const promised = (test) => by('contract', `on one server with a URL ${test}`);

/** @type {readonly Mutant[]} */
export const redis = [
  {
    name: 'renews for everybody',
    package: 'redis',
    file: 'src/scripts.ts',
    from: 'elseif is[1] == words[i] and (tonumber(is[2]) or 0) > now then',
    to: 'elseif (tonumber(is[2]) or 0) > now then',
    caughtBy: promised('G6: renews for the owner alone'),
  },
  {
    name: 'renews a lease whose time is over',
    package: 'redis',
    file: 'src/scripts.ts',
    from: 'elseif is[1] == words[i] and (tonumber(is[2]) or 0) > now then',
    to: 'elseif is[1] == words[i] and is[2] then',
    caughtBy: promised('G2: does not renew a lease whose time is over'),
  },
  {
    name: 'releases for everybody',
    package: 'redis',
    file: 'src/scripts.ts',
    from: 'elseif is[1] ~= words[first + 1] then',
    to: 'elseif not is[1] then',
    caughtBy: promised('G6: does not release for somebody else'),
  },
  {
    name: 'runs an occurrence again that is done',
    package: 'redis',
    file: 'src/scripts.ts',
    from: "elseif last and at == last and state == 'done' then",
    to: "elseif last and at == last and state == 'over' then",
    caughtBy: promised('G4: runs an occurrence once: a late replica finds it done'),
  },
  {
    name: 'starts an attempt more than was allowed',
    package: 'redis',
    file: 'src/scripts.ts',
    from: 'elseif attempt > words[first + 6] then',
    to: 'elseif attempt > words[first + 6] + 1 then',
    caughtBy: promised('G4: gives a failed occurrence another attempt while one is left'),
  },
  {
    name: 'does not undo the first claim of a name when its run was never started',
    package: 'redis',
    file: 'src/scripts.ts',
    from: "if claim == '-' then redis.call('HDEL', key, 'until', 'mark') else redis.call('HDEL', key, 'until') end",
    to: "redis.call('HDEL', key, 'until')",
    caughtBy: promised('G4: undoes the claim of a run that never started'),
  },
  {
    name: 'does not put back the mark from before a claim whose run was never started',
    package: 'redis',
    file: 'src/scripts.ts',
    from: "if claim and claim ~= '-' then redis.call('HSET', key, 'mark', claim) end",
    to: '',
    caughtBy: promised('G4: undoes the claim of a run that never started'),
  },
  {
    name: 'counts fences from the record alone, which the server may have forgotten',
    package: 'redis',
    file: 'src/scripts.ts',
    from: 'if fence < now then fence = now end',
    to: '',
    caughtBy: by('record', 'hands out a greater fence than before also when the server has lost its data'),
  },
  {
    name: 'takes over what looks held, though its holder has renewed it since',
    package: 'redis',
    file: 'src/scripts.ts',
    from: "then held = redis.call('HGET', key, 'owner') .. ' ' .. is[1] ~= over end",
    to: 'then held = false end',
    caughtBy: by('settling', 'takes over what looks held only as it was observed'),
  },
  {
    name: 'cannot renew on a server whose memory is full',
    package: 'redis',
    file: 'src/scripts.ts',
    from: "redis.call('HDEL', key, '')\n",
    to: '\n',
    caughtBy: by('loss', 'renews and releases on a server whose memory is full'),
  },
  {
    name: 'counts for how long a server was observed in a term that is over',
    package: 'redis',
    file: 'src/scripts.ts',
    from: 'if is[1] == term then',
    to: 'if is[1] then',
    caughtBy: by('settling', 'waits anew after a restart with data that tell of an earlier start'),
  },
  {
    name: 'grants at once on a server that has just been started',
    package: 'redis',
    file: 'src/settling.ts',
    from: 'leftMs: (leaseMs) => Math.max(0, leaseMs - observedMs()),',
    to: 'leftMs: () => 0,',
    caughtBy: by('settling', 'grants at once to whoever comes after a client that has waited'),
  },
  {
    name: 'counts what a server has computed as the replica of another one',
    package: 'redis',
    file: 'src/server.ts',
    from: 'computedMs: followed || !Number.isFinite(computed) ? 0',
    to: 'computedMs: !Number.isFinite(computed) ? 0',
    caughtBy: by('settling', 'and for a replica that has computed as one'),
  },
  {
    name: 'keeps what was granted after its caller had gone (on Redis)',
    package: 'core',
    file: 'src/server/questions.ts',
    from: 'if (isGrant(answer)) this.takeBack(name, owner);',
    to: "if (isGrant(answer) && owner === '') this.takeBack(name, owner);",
    caughtBy: by('undo', 'keeps nothing of a try whose caller goes away at whatever moment'),
  },
];
