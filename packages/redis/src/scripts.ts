import { RECORD_FIELDS } from './fields.ts';
import { isKept, keeps, lost, now, pauseEnds, quoted, RUN_FIELDS, script, type Script } from './lua.ts';

export const ACQUIRE_WORDS = 7;

/**
 * Words per key: owner, by, lease in ms, a lease that is over (its owner and its `until`) or '', whether a pause does not count, whether
 * the run is kept without an occurrence, too, and the occurrence or false: at in ms, attempts, schedule, plan, next in ms or ''. Answers the
 * fence, with attempt, and claim, schedule, plan and next before, if there is an occurrence; or the verdict and the fields of the record.
 *
 * A lease that is over is one that the caller has seen stand unchanged for its whole length: it only looks valid since the clock of the
 * server was set back. If it still stands like that, nobody has renewed it in the meantime.
 *
 * A fence is the server's time or one more than the last, whatever is more: a server that has lost its memory still hands out greater
 * ones than before.
 */
export const acquire: Script = script(`${now}
local words = cjson.decode(ARGV[1])
local answers = {}
for i, key in ipairs(KEYS) do
  local first = (i - 1) * ${ACQUIRE_WORDS}
  local owner, lease, over, wanted = words[first + 1], words[first + 3], words[first + 4], words[first + 7]
  local is = redis.pcall('HMGET', key, 'until', 'fence', 'mark', 'schedule', 'paused', 'known')
  if is.err then
    answers[i] = { 'error', is.err }
  else
    local held = (tonumber(is[1]) or 0) > now
    if held and over ~= '' then held = redis.call('HGET', key, 'owner') .. ' ' .. is[1] ~= over end
    local verdict, attempt, early = 'granted', 1, 0
    local at = wanted and wanted[1]
    if at then
      local last, state, tries = string.match(is[3] or '', '^(%S+) (%S+) (%S+)$')
      last = tonumber(last)
      if last and at < last then
        verdict = 'superseded'
      elseif last and at == last and state == 'done' then
        verdict = 'done'
      elseif last and at == last then
        attempt = (tonumber(tries) or 0) + 1
        if held then verdict = 'held' elseif attempt > wanted[2] and state ~= 'reopened' then verdict = 'exhausted' end
      elseif at * 1000 > now then
        verdict, early = 'early', math.ceil(at * 1000 - now)
      elseif held then
        verdict = 'held'
      end
    elseif held then
      verdict = 'held'
    end
    local stops = is[5] and not words[first + 5] and ${pauseEnds('is[5]')} > now
    if stops and (verdict == 'granted' or verdict == 'held') then verdict = 'paused' end
    if verdict == 'granted' then
      local fence = (tonumber(is[2]) or 0) + 1
      if fence < now then fence = now end
      if is[1] then
        ${lost}
        redis.call('HSET', key, unpack(left))
      end
      if not is[6] then redis.call('HSET', key, 'known', is[2] and redis.call('HGET', key, 'since') or now) end
      local ends = math.ceil(now + lease * 1000)
      if at then
        local claim = is[3] or '-'
        local before = redis.call('HMGET', key, 'plan', 'next')
        redis.call('HSET', key, 'owner', owner, 'by', words[first + 2], 'fence', fence, 'since', now, 'lease', lease, 'until', ends,
          'claim', claim, 'mark', string.format('%.0f claimed %.0f', at, attempt), 'next', wanted[5])
        if wanted[3] ~= '' then redis.call('HSET', key, 'schedule', wanted[3]) end
        if wanted[4] ~= '' then redis.call('HSET', key, 'plan', wanted[4]) end
        answers[i] = { fence, attempt, claim, is[4], before[1], before[2] }
      else
        redis.call('HSET', key, 'owner', owner, 'by', words[first + 2], 'fence', fence, 'since', now, 'lease', lease, 'until', ends,
          'claim', '')
        if words[first + 6] then redis.call('HSET', key, 'keep', owner) end
        answers[i] = fence
      end
      if is[5] and ${pauseEnds('is[5]')} <= now then redis.call('HDEL', key, 'paused') end
    else
      answers[i] = { verdict, early, now, cjson.encode(redis.call('HMGET', key, ${quoted(RECORD_FIELDS)})) }
    end
  end
end
return answers`);

/** Words per key: owner. Answers 1 if the lease is still its own, and renewed. */
export const renew: Script = script(`${now}
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
return answers`);

export const RELEASE_WORDS = 3;

/**
 * Words per key: owner, result, error. Answers 1 if the acquisition was its own. It notifies the listeners of the
 * channel with the key's name; a role that may not publish releases all the same.
 */
export const release: Script = script(`${now}
local words = cjson.decode(ARGV[1])
local answers = {}
for i, key in ipairs(KEYS) do
  local first = (i - 1) * ${RELEASE_WORDS}
  local result = words[first + 2]
  local is = redis.pcall('HMGET', key, ${RUN_FIELDS})
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
        local at = string.match(is[5] or '', '^%S+')
        if claim and at ~= string.match(claim, '^%S+') and (redis.call('HGET', key, 'next') or '') ~= '' then
          redis.call('HSET', key, 'next', at)
        end
      else
        local last, value, why = 'error', words[first + 3], words[first + 3]
        if result == 'done' then
          last, value, why = 'ok', now, false
          redis.call('HDEL', key, 'until', 'error')
        else
          redis.call('HDEL', key, 'until')
        end
        local took = now - (tonumber(is[3]) or now)
        local ran, by = result .. ' ' .. (is[3] or 0) .. ' ' .. took, is[6] or '{}'
        if ${isKept} then
          ${keeps('result', 'now', 'why')}
          if claim and is[5] then kept[5], kept[6] = 'mark', (string.gsub(is[5], ' %S+ ', ' ' .. result .. ' ')) end
          redis.call('HSET', key, 'took', took, last, value, 'ran', ran, 'ranby', by, unpack(kept))
        else
          redis.call('HSET', key, 'took', took, last, value, 'ran', ran, 'ranby', by)
        end
      end
      redis.pcall('PUBLISH', key, '')
    end
  end
end
return answers`);

/** Answers 1 for those that are free; owner, `until` and lease of one that the clock was set back under; and 0 for the others. */
export const look: Script = script(`${now}
local answers = {}
for i, key in ipairs(KEYS) do
  local is = redis.pcall('HMGET', key, 'until', 'lease', 'owner')
  local ends, lease = tonumber(is[1]) or 0, tonumber(is[2]) or 0
  if ends <= now then
    answers[i] = 1
  elseif ends > math.ceil(now + lease * 1000) then
    answers[i] = { is[3], is[1], is[2] }
  else
    answers[i] = 0
  end
end
return answers`);

/** Machines whose clocks are kept. One whose clock is dropped is observed anew, which only takes longer. */
const MOST_MACHINES = 64;

/**
 * One client's observation of the server in charge (settling.ts); answers for how long it has surely been in charge, in ms. Fields of
 * the key: term, proved (ms); and for each machine what its clock showed, at the latest, when the server began.
 *
 * The machines of an earlier term must go before the new term is written, or their clocks would count for it. They go by HDEL: a role that
 * may use hashes need not have the right to DEL. If they cannot go, nothing is kept.
 *
 * A server that can write nothing (its memory is full) has its holders renew all the same, so it may be asked this, too: what is not
 * kept is observed again.
 */
export const observed: Script = script(`
local term, proved, computed, machine, at = unpack(cjson.decode(ARGV[1]))
local function forget()
  local done = redis.pcall('HDEL', KEYS[1], unpack(redis.call('HKEYS', KEYS[1])))
  return type(done) ~= 'table' or not done.err
end
local is = redis.call('HMGET', KEYS[1], 'term', 'proved', machine)
if is[1] == term then
  proved = math.max(proved, computed, tonumber(is[2]) or 0, is[3] and at - is[3] or 0)
elseif is[1] then
  if not forget() then return math.floor(proved) end
else
  proved = math.max(proved, computed)
end
if redis.call('HLEN', KEYS[1]) > ${MOST_MACHINES} and not forget() then return math.floor(proved) end
redis.pcall('HSET', KEYS[1], 'term', term, 'proved', proved)
if machine ~= '' then redis.pcall('HSET', KEYS[1], machine, at - proved) end
return math.floor(proved)`);
