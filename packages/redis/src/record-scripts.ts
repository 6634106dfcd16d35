import { MOST_RUNS } from '@solorun/core/server';
import { RECORD_FIELDS } from './fields.ts';
import { lost, now, pauseEnds, quoted, script, type Script } from './lua.ts';

/*
 * Scripts for the questions of people about the hashes (lua.ts), and for the changes that they make. Words are one JSON here, too.
 */

const PAUSED_AT = RECORD_FIELDS.indexOf('paused') + 1;

/**
 * Answers the time, and the fields that make the record of each.
 *
 * A name that was paused and never acquired has no record that could be forgotten one day: of such a one, a pause that is over is removed
 * here.
 */
export const inspect: Script = script(`${now}
local answers = { now }
for i, key in ipairs(KEYS) do
  local is = redis.pcall('HMGET', key, ${quoted(RECORD_FIELDS)})
  if is.err then
    is = {}
  elseif is[${PAUSED_AT}] and not is[1] and ${pauseEnds(`is[${PAUSED_AT}]`)} <= now then
    redis.pcall('HDEL', key, 'paused')
  end
  answers[i + 1] = is
end
return answers`);

/** Answers the pause in force of each, or nothing. */
export const pauses: Script = script(`${now}
local answers = {}
for i, key in ipairs(KEYS) do
  local paused = redis.pcall('HGET', key, 'paused')
  answers[i] = type(paused) == 'string' and ${pauseEnds('paused')} > now and paused
end
return answers`);

/** Answers the texts of the runs that are kept, in no particular order; one whose lease has ended without a word is among them. */
export const runs: Script = script(`${now}
local slots = {}
for slot = 0, ${MOST_RUNS - 1} do slots[slot + 1] = 'run:' .. slot end
local answers = {}
for i, key in ipairs(KEYS) do
  local all = redis.pcall('HMGET', key, 'until', unpack(slots))
  if all.err then
    answers[i] = all.err
  else
    local ends = table.remove(all, 1)
    if ends and (tonumber(ends) or 0) <= now then
      ${lost}
      all[#all + 1] = left[8]
    end
    answers[i] = all
  end
end
return answers`);

/**
 * Words: how long in ms, or until when in ms and false for how long; who and why, as JSON. Answers when it ends, in µs: a whole ms, since
 * that is what is shown. An operator can pause on a full server, too: it begins with a removal.
 */
export const pause: Script = script(`${now}
local forMs, untilMs, told = unpack(cjson.decode(ARGV[1]))
local is = redis.pcall('HDEL', KEYS[1], '')
if type(is) == 'table' then return { is.err } end
local ends = (forMs and math.ceil(now / 1000 + forMs) or untilMs) * 1000
redis.call('HSET', KEYS[1], 'paused', string.format('%.0f ', ends) .. told)
return { ends }`);

/** Answers 1 if there was a pause in force. */
export const resume: Script = script(`${now}
local paused = redis.pcall('HGET', KEYS[1], 'paused')
if type(paused) == 'table' then return { paused.err } end
if not paused then return { 0 } end
redis.call('HDEL', KEYS[1], 'paused')
return { ${pauseEnds('paused')} > now and 1 or 0 }`);

/**
 * Answers the mark as it is now, in an array; or 0 if there is none, or the name is held. A run that was lost ends with it: told too late,
 * its end must not undo what an operator has allowed.
 */
export const reopen: Script = script(`${now}
local key = KEYS[1]
local is = redis.pcall('HMGET', key, 'until', 'mark')
if is.err then return { is.err } end
local at, attempt = string.match(is[2] or '', '^(%S+) %S+ (%S+)$')
if not at or (tonumber(is[1]) or 0) > now then return { 0 } end
local mark = at .. ' reopened ' .. attempt
if is[1] then
  ${lost}
  redis.call('HSET', key, unpack(left))
  redis.call('HDEL', key, 'until')
end
redis.call('HSET', key, 'mark', mark)
return { { mark } }`);

/**
 * Words per key: for how long it was not touched, in ms. Answers 1 if it was removed.
 *
 * After that, fences rest on the clock alone. So the last one counts as a touch: it is an instant of that clock, and lies ahead of
 * it where the clock was set back. Fences go back only if the clock is set back, afterwards, by more than the time without a touch.
 *
 * The fields go by HDEL, and the hash with the last of them: a role that may use hashes need not have the right to DEL. They go in
 * portions, since Lua hands over some thousand arguments at most.
 */
export const forget: Script = script(`${now}
local words = cjson.decode(ARGV[1])
local answers = {}
for i, key in ipairs(KEYS) do
  local is = redis.pcall('HMGET', key, 'owner', 'paused', 'ran', 'next', 'since', 'until', 'fence', 'ok')
  if is.err then
    answers[i] = is.err
  else
    local began, took, lostAt = string.match(is[3] or '', '^%S+ (%S+) (%S+) ?(%S*)')
    local ended = tonumber(lostAt) or (tonumber(began) or 0) + (tonumber(took) or 0)
    local touched = math.max(ended, (tonumber(is[4]) or 0) * 1000)
    for field = 5, 8 do touched = math.max(touched, tonumber(is[field]) or 0) end
    if not is[1] or ${pauseEnds('is[2]')} > now or touched >= now or touched > now - words[i] * 1000 then
      answers[i] = 0
    else
      local fields = redis.call('HKEYS', key)
      for from = 1, #fields, 1000 do redis.call('HDEL', key, unpack(fields, from, math.min(from + 999, #fields))) end
      answers[i] = 1
    end
  end
end
return answers`);
