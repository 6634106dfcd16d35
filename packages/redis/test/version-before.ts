import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';

/*
 * What the version before this one runs on the server: its scripts as they were. While a fleet is replaced, both share the hashes.
 */

const now = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
`;

const acquire = `${now}
local words = cjson.decode(ARGV[1])
local answers = {}
for i, key in ipairs(KEYS) do
  local first = (i - 1) * 7
  local lease, over, at = words[first + 3], words[first + 4], words[first + 5]
  local is = redis.pcall('HMGET', key, 'until', 'fence', 'mark', 'schedule')
  if is.err then
    answers[i] = { 'error', is.err }
  else
    local held = (tonumber(is[1]) or 0) > now
    if held and over ~= '' then held = redis.call('HGET', key, 'owner') .. ' ' .. is[1] ~= over end
    local verdict, attempt, early = 'granted', 1, 0
    if at then
      local last, state, tries = string.match(is[3] or '', '^(%S+) (%S+) (%S+)$')
      last = tonumber(last)
      if last and at < last then
        verdict = 'superseded'
      elseif last and at == last and state == 'done' then
        verdict = 'done'
      elseif last and at == last then
        attempt = (tonumber(tries) or 0) + 1
        if held then verdict = 'held' elseif attempt > words[first + 6] then verdict = 'exhausted' end
      elseif at * 1000 > now then
        verdict, early = 'early', math.ceil(at * 1000 - now)
      elseif held then
        verdict = 'held'
      end
    elseif held then
      verdict = 'held'
    end
    if verdict == 'granted' then
      local fence = (tonumber(is[2]) or 0) + 1
      if fence < now then fence = now end
      local ends = math.ceil(now + lease * 1000)
      if at then
        local claim = is[3] or '-'
        redis.call('HSET', key, 'owner', words[first + 1], 'by', words[first + 2], 'fence', fence, 'since', now, 'lease', lease,
          'until', ends, 'claim', claim, 'mark', string.format('%.0f claimed %.0f', at, attempt))
        if words[first + 7] ~= '' then redis.call('HSET', key, 'schedule', words[first + 7]) end
        answers[i] = { fence, attempt, claim, is[4] }
      else
        redis.call('HSET', key, 'owner', words[first + 1], 'by', words[first + 2], 'fence', fence, 'since', now, 'lease', lease,
          'until', ends, 'claim', '')
        answers[i] = fence
      end
    else
      answers[i] = { verdict, early, now, cjson.encode(redis.call('HGETALL', key)) }
    end
  end
end
return answers`;

const renew = `${now}
local words = cjson.decode(ARGV[1])
local answers = {}
for i, key in ipairs(KEYS) do
  local is = redis.pcall('HMGET', key, 'owner', 'until', 'lease')
  if is.err then
    answers[i] = is.err
  elseif is[1] == words[i] and (tonumber(is[2]) or 0) > now then
    redis.call('HDEL', key, '')
    redis.call('HSET', key, 'until', math.ceil(now + (tonumber(is[3]) or 0) * 1000))
    answers[i] = 1
  else
    answers[i] = 0
  end
end
return answers`;

const release = `${now}
local words = cjson.decode(ARGV[1])
local answers = {}
for i, key in ipairs(KEYS) do
  local first = (i - 1) * 3
  local result = words[first + 2]
  local is = redis.pcall('HMGET', key, 'owner', 'until', 'since', 'claim', 'mark')
  if is.err then
    answers[i] = is.err
  elseif is[1] ~= words[first + 1] then
    answers[i] = 0
  else
    answers[i] = 1
    if is[2] then
      local claim = is[4] ~= '' and is[4]
      if result == 'abandoned' then
        if claim == '-' then redis.call('HDEL', key, 'until', 'mark') else redis.call('HDEL', key, 'until') end
        if claim and claim ~= '-' then redis.call('HSET', key, 'mark', claim) end
      else
        local last, value = 'error', words[first + 3]
        if result == 'done' then
          last, value = 'ok', now
          redis.call('HDEL', key, 'until', 'error')
        else
          redis.call('HDEL', key, 'until')
        end
        local took = now - (tonumber(is[3]) or now)
        if claim and is[5] then
          local mark = string.gsub(is[5], ' %S+ ', ' ' .. result .. ' ')
          redis.call('HSET', key, 'took', took, last, value, 'mark', mark)
        else
          redis.call('HSET', key, 'took', took, last, value)
        end
      end
      redis.pcall('PUBLISH', key, '')
    end
  end
end
return answers`;

/** A replica of the version before. */
export interface Before {
  /** Answers the fence, or the verdict. */
  acquire(
    name: string,
    options?: { readonly owner?: string; readonly leaseMs?: number; readonly at?: Date },
  ): Promise<number | string>;
  renew(name: string, owner: string): Promise<boolean>;
  release(name: string, owner: string, result: 'done' | 'failed' | 'abandoned', error?: string): Promise<boolean>;
  end(): void;
}

export const BEFORE = { host: 'before.host', pid: 1, label: 'before' };

export function before(url: string): Before {
  const client = new Redis(url);
  const ask = async (lua: string, name: string, words: readonly unknown[]): Promise<unknown> =>
    ((await client.eval(lua, 1, `solorun:lock:${name}`, JSON.stringify(words))) as unknown[])[0];
  return {
    async acquire(name, { owner = randomUUID(), leaseMs = 60_000, at } = {}) {
      const occurrence = at === undefined ? [false, 0, ''] : [at.getTime(), 2, 'digest'];
      const answer = await ask(acquire, name, [owner, JSON.stringify(BEFORE), leaseMs, '', ...occurrence]);
      return Array.isArray(answer) ? (answer[0] as number | string) : (answer as number);
    },
    renew: async (name, owner) => (await ask(renew, name, [owner])) === 1,
    release: async (name, owner, result, error = '') => (await ask(release, name, [owner, result, error])) === 1,
    end: () => client.disconnect(),
  };
}
