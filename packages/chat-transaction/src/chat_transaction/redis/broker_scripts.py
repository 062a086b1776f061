"""The Lua scripts of the Redis broker: each is one atomic step."""

from __future__ import annotations

PUBLISH = """
-- KEYS: the shard's stream. ARGV: capacity, then the encoded records. 0 when it is full.
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
for number = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'r', ARGV[number]) end
return 1
"""

DELAY = """
-- KEYS: the topic's delayed records (sorted by time), their data. ARGV: milliseconds, then (member, data) pairs.
local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for number = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[number], ARGV[number + 1])
  redis.call('ZADD', KEYS[1], due, ARGV[number])
end
return 1
"""

RELEASE_DELAYED = """
-- KEYS: as above, then the streams by shard. Moves what is due; a member is 'shard:id'.
-- Returns milliseconds to the next.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 200)) do
  local shard = tonumber(string.match(member, '^(%d+):'))
  local data = redis.call('HGET', KEYS[2], member)
  if data then redis.call('XADD', KEYS[3 + shard], '*', 'r', data) end
  redis.call('HDEL', KEYS[2], member)
  redis.call('ZREM', KEYS[1], member)
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if next[2] then return math.max(0, next[2] - now) end
return -1
"""

BALANCE = """
-- KEYS: the group's members (sorted by the end of their life), then the lease of each shard.
-- ARGV: member, life in milliseconds. Returns the members, then the shards held (0-based).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 10)
local members = redis.call('ZCARD', KEYS[1])
local share = math.ceil((#KEYS - 1) / members)
local held = {}
for number = 2, #KEYS do
  if redis.call('GET', KEYS[number]) == ARGV[1] then
    redis.call('PEXPIRE', KEYS[number], ARGV[2])
    held[#held + 1] = number - 2
  end
end
for number = 2, #KEYS do
  if #held >= share then break end
  if redis.call('SET', KEYS[number], ARGV[1], 'NX', 'PX', ARGV[2]) then held[#held + 1] = number - 2 end
end
table.insert(held, 1, members)
return held
"""

RELEASE = """
-- KEYS: a lease. ARGV: member. Gives it back only if it is his.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

FORGET = """
-- KEYS: a stream. ARGV: group, member. Forgets a member that has nothing pending: with him his pending would go.
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local info = {}
  for number = 1, #consumer, 2 do info[consumer[number]] = consumer[number + 1] end
  if info['name'] == ARGV[2] and info['pending'] == 0 then
    return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
  end
end
return 0
"""

TRIM = """
-- KEYS: a stream. Drops what every group has handled, and nothing else.
local lowest = nil
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local info = {}
  for number = 1, #group, 2 do info[group[number]] = group[number + 1] end
  local pending = redis.call('XPENDING', KEYS[1], info['name'])
  local first = info['last-delivered-id']
  local inclusive = false
  if pending[1] > 0 then first = pending[2]; inclusive = true end
  local high, low = string.match(first, '^(%d+)-(%d+)$')
  if not inclusive then low = string.format('%.0f', tonumber(low) + 1) end
  local keep = {tonumber(high), tonumber(low), high .. '-' .. low}
  if lowest == nil or keep[1] < lowest[1] or (keep[1] == lowest[1] and keep[2] < lowest[2]) then lowest = keep end
end
if lowest == nil then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', lowest[3])
"""
