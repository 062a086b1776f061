"""The Lua scripts of the directory: each is one atomic step.

Per session a hash ``…:s:<session>`` (u user, n node, b boot, r the route), which Redis itself removes when the lease
ends; per user a set ``…:u:<user>`` of sessions, which may name some that are gone; ``…:nodes`` (sorted by the end of
their leases, kept for a while after it) and ``…:records`` of nodes.
"""

from __future__ import annotations

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_PROLONG = """
local function prolong(key, lease)
  -- A set lives as long as the longest lease of what it names.
  if redis.call('PTTL', key) < lease then redis.call('PEXPIRE', key, lease) end
end
"""

REGISTER = (
    _PROLONG
    + """
-- KEYS: session, user. ARGV: prefix, session, user, node, boot, route, lease in milliseconds.
local lease = tonumber(ARGV[7])
local before = redis.call('HGET', KEYS[1], 'u')
if before and before ~= ARGV[3] then redis.call('SREM', ARGV[1] .. ':u:' .. before, ARGV[2]) end
redis.call('HSET', KEYS[1], 'u', ARGV[3], 'n', ARGV[4], 'b', ARGV[5], 'r', ARGV[6])
redis.call('PEXPIRE', KEYS[1], lease)
redis.call('SADD', KEYS[2], ARGV[2])
prolong(KEYS[2], lease)
return 1
"""
)

UNREGISTER = """
-- KEYS: session, user. ARGV: session, route. Removes exactly this route; 0 when another one stands there.
if redis.call('HGET', KEYS[1], 'r') ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
return 1
"""

RENEW = (
    _PROLONG
    + """
-- ARGV: prefix, node, boot, lease in milliseconds, then sessions. Returns those that are not this
-- node's. The user's set is written again: Redis may have lost it and kept the session.
local lease, unknown = tonumber(ARGV[4]), {}
for number = 5, #ARGV do
  local key = ARGV[1] .. ':s:' .. ARGV[number]
  local found = redis.call('HMGET', key, 'u', 'n', 'b')
  if found[1] and found[2] == ARGV[2] and found[3] == ARGV[3] then
    redis.call('PEXPIRE', key, lease)
    local user = ARGV[1] .. ':u:' .. found[1]
    redis.call('SADD', user, ARGV[number])
    prolong(user, lease)
  else
    unknown[#unknown + 1] = ARGV[number]
  end
end
return unknown
"""
)

ROUTES = """
-- ARGV: prefix, then users. Returns the routes of all of them. Sessions that are gone, or another user's by now, are
-- forgotten on the way.
local routes = {}
for number = 2, #ARGV do
  local user = ARGV[1] .. ':u:' .. ARGV[number]
  for _, session in ipairs(redis.call('SMEMBERS', user)) do
    local found = redis.call('HMGET', ARGV[1] .. ':s:' .. session, 'u', 'r')
    if found[1] == ARGV[number] then
      routes[#routes + 1] = found[2]
    else
      redis.call('SREM', user, session)
    end
  end
end
return routes
"""

ANNOUNCE = (
    _NOW
    + """
-- KEYS: nodes, records. ARGV: node, boot, started, record, lease in milliseconds. 0: a later start has the name.
local found = redis.call('HGET', KEYS[2], ARGV[1])
if found and tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0) > now then
  local other = cjson.decode(found)
  if other[2] ~= ARGV[2] and tonumber(other[3]) >= tonumber(ARGV[3]) then return 0 end
end
redis.call('ZADD', KEYS[1], now + ARGV[5], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
return 1
"""
)

DEPART = (
    _NOW
    + """
-- KEYS: nodes, records. ARGV: node, boot.
local found = redis.call('HGET', KEYS[2], ARGV[1])
if not found or cjson.decode(found)[2] ~= ARGV[2] then return 0 end
local till = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
if till > now then return 1 end
return 0
"""
)

NODES = (
    _NOW
    + """
-- KEYS: nodes, records. ARGV: milliseconds for which those that are gone are remembered. Returns the records whose
-- lease has not ended.
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])) do
  redis.call('ZREM', KEYS[1], node)
  redis.call('HDEL', KEYS[2], node)
end
local records = {}
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')) do
  local record = redis.call('HGET', KEYS[2], node)
  if record then records[#records + 1] = record end
end
return records
"""
)

GONE = (
    _NOW
    + """
-- KEYS: nodes, records. ARGV: milliseconds for which those that are gone are remembered. Returns record, milliseconds
-- since its lease ended, record, milliseconds, …
local found = {}
local from, to = '(' .. string.format('%.0f', now - ARGV[1]), string.format('%.0f', now)
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], from, to, 'WITHSCORES')
for number = 1, #gone, 2 do
  local record = redis.call('HGET', KEYS[2], gone[number])
  if record then
    found[#found + 1] = record
    found[#found + 1] = now - tonumber(gone[number + 1])
  end
end
return found
"""
)

KNOWN_SINCE = (
    _NOW
    + """
-- KEYS: since. Milliseconds since this very process of Redis was first asked. Another process (a restart, a replica
-- that has taken over) may lack what was written last, and an emptied one lacks everything: both begin anew.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local process, since = string.match(redis.call('GET', KEYS[1]) or '', '^(%w+) (%d+)$')
if process ~= run then
  redis.call('SET', KEYS[1], run .. ' ' .. string.format('%.0f', now))
  return 0
end
return now - since
"""
)
