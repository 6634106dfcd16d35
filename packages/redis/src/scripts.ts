import { createHash } from 'node:crypto';

/** A question to the server: one script, run atomically, for as many names as are asked about at once. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
}

function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}

/*
 * One hash per name. Its fields:
 *   owner, by (host, process id and label, as JSON), fence
 *   since, lease, until          of the last acquisition, in µs of the server's clock (lease in ms); until is 0 once released
 *   at, state, attempt           the high-water mark of occurrences (at in ms)
 *   claimed, before              whether that acquisition moved the mark, and where it stood before: what undoes it
 *   ok, took, error, schedule    the last success, the last duration in µs, the last failure, the digest of the schedule
 *
 * The hashes never expire: a fence only grows, and what policies of the kind volatile-* throw away is only what expires.
 * Lua's numbers are doubles: µs since 1970 are exact in them until the year 2255, and are written without an exponent by '%.0f'.
 * A full server lets a script go on once it has written something. So holders, who must not suffer for that, begin with a removal,
 * which needs no memory.
 * What is read first is read by pcall, so that a key of somebody else's fails its own question alone and not those asked with it.
 */

const now = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local text = string.format
`;

export const ACQUIRE_ARGS = 6;

/**
 * Per key: owner, by, lease in ms, and the occurrence or three empty words: at in ms, attempts, schedule.
 *
 * A fence is the server's time or one more than the last, whatever is more: a server that has lost its memory still hands out greater
 * ones than before.
 */
export const acquire: Script = script(`${now}
local answers = {}
for i, key in ipairs(KEYS) do
  local first = (i - 1) * ${ACQUIRE_ARGS}
  local lease, at = ARGV[first + 3], tonumber(ARGV[first + 4])
  local is = redis.pcall('HMGET', key, 'until', 'fence', 'at', 'state', 'attempt')
  if is.err then
    answers[i] = { 'error', is.err }
  else
    local held = (tonumber(is[1]) or 0) > now
    local mark = tonumber(is[3])
    local verdict, attempt, early = 'granted', 1, 0
    if at and mark and at < mark then
      verdict = 'superseded'
    elseif at and mark and at == mark and is[4] == 'done' then
      verdict = 'done'
    elseif at and mark and at == mark then
      attempt = (tonumber(is[5]) or 0) + 1
      if held then verdict = 'held' elseif attempt > tonumber(ARGV[first + 5]) then verdict = 'exhausted' end
    elseif at and at * 1000 > now then
      verdict, early = 'early', at * 1000 - now
    elseif held then
      verdict = 'held'
    end
    if verdict == 'granted' then
      local fence = (tonumber(is[2]) or 0) + 1
      if fence < now then fence = now end
      local before = mark and is[4] and is[5] and (is[3] .. ' ' .. is[4] .. ' ' .. is[5]) or ''
      redis.call('HSET', key, 'owner', ARGV[first + 1], 'by', ARGV[first + 2], 'fence', text('%.0f', fence), 'since', text('%.0f', now),
        'lease', lease, 'until', text('%.0f', math.ceil(now + lease * 1000)), 'claimed', at and 1 or 0)
      if at then
        redis.call('HSET', key, 'at', ARGV[first + 4], 'state', 'claimed', 'attempt', attempt, 'before', before)
        if ARGV[first + 6] ~= '' then redis.call('HSET', key, 'schedule', ARGV[first + 6]) end
      end
      answers[i] = { verdict, text('%.0f', fence), attempt, before }
    else
      answers[i] = { verdict, text('%.0f', early), text('%.0f', now), redis.call('HGETALL', key) }
    end
  end
end
return answers`);

/** Per key: owner. Answers 1 if the lease is still its own, and renewed. */
export const renew: Script = script(`${now}
local answers = {}
for i, key in ipairs(KEYS) do
  local is = redis.pcall('HMGET', key, 'owner', 'until', 'lease')
  if is.err then
    answers[i] = is.err
  elseif is[1] == ARGV[i] and (tonumber(is[2]) or 0) > now then
    redis.call('HDEL', key, '')
    redis.call('HSET', key, 'until', text('%.0f', math.ceil(now + (tonumber(is[3]) or 0) * 1000)))
    answers[i] = 1
  else
    answers[i] = 0
  end
end
return answers`);

export const RELEASE_ARGS = 3;

/**
 * Per key: owner, result, error. Answers 1 if the acquisition was its own. Who listens to the channel of the key's name is told; a
 * role that may not publish releases all the same.
 */
export const release: Script = script(`${now}
local answers = {}
for i, key in ipairs(KEYS) do
  local first = (i - 1) * ${RELEASE_ARGS}
  local result = ARGV[first + 2]
  local is = redis.pcall('HMGET', key, 'owner', 'until', 'since', 'claimed', 'before')
  if is.err then
    answers[i] = is.err
  elseif is[1] ~= ARGV[first + 1] then
    answers[i] = 0
  else
    answers[i] = 1
    if is[2] ~= '0' then
      redis.call('HDEL', key, result == 'done' and 'error' or '')
      local claimed = is[4] == '1'
      if result == 'abandoned' then
        local at, state, attempt = string.match(is[5] or '', '^(%S+) (%S+) (%S+)$')
        if claimed and at then redis.call('HSET', key, 'until', 0, 'at', at, 'state', state, 'attempt', attempt)
        else
          redis.call('HSET', key, 'until', 0)
          if claimed then redis.call('HDEL', key, 'at', 'state', 'attempt') end
        end
      else
        local took = text('%.0f', now - (tonumber(is[3]) or now))
        local last, value = 'error', ARGV[first + 3]
        if result == 'done' then last, value = 'ok', text('%.0f', now) end
        if claimed then redis.call('HSET', key, 'until', 0, 'took', took, last, value, 'state', result)
        else redis.call('HSET', key, 'until', 0, 'took', took, last, value) end
      end
      redis.pcall('PUBLISH', key, '')
    end
  end
end
return answers`);

/** Answers 1 for those that are free. */
export const look: Script = script(`${now}
local answers = {}
for i, key in ipairs(KEYS) do
  local is = redis.pcall('HGET', key, 'until')
  answers[i] = (type(is) ~= 'string' or tonumber(is) <= now) and 1 or 0
end
return answers`);

/** Answers the time, and all fields of each. */
export const inspect: Script = script(`${now}
local answers = { text('%.0f', now) }
for i, key in ipairs(KEYS) do
  local is = redis.pcall('HGETALL', key)
  answers[i + 1] = is.err and {} or is
end
return answers`);

/**
 * Since when this server has been the one that decides, in ms, as far as anybody has noticed. Its key holds the replication id,
 * which a server changes when it takes over and when it starts.
 */
export const serving: Script = script(`${now}
local is = redis.call('HMGET', KEYS[1], 'id', 'since')
if is[1] ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'id', ARGV[1], 'since', text('%.0f', now))
  return 0
end
return math.max(0, math.floor((now - is[2]) / 1000))`);
