"""The Lua scripts of the cache: each is one atomic step. Lifetimes are in milliseconds."""

from __future__ import annotations

GET = "return redis.call('GET', KEYS[1])"
PUT = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"
ADD = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end return 0"
TAKE = "return redis.call('GETDEL', KEYS[1])"
DELETE = "return redis.call('DEL', KEYS[1])"

COUNT = """
-- ARGV: by, lifetime. The lifetime is counted from the first step.
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum
"""

ALLOW = """
-- GCRA, as chat_common.memory.rates. ARGV: limit, period in microseconds. Returns the seconds to wait; '0': allowed,
-- and counted. The key holds when the bucket is empty again.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local later = due + period / limit
-- Half a thousandth of a step forgives what floats lose when a full bucket is counted down to its end.
if later - now > period * (1 + 0.0005 / limit) then
  return string.format('%.6f', math.max(0.000001, (later - now - period) / 1000000))
end
redis.call('SET', KEYS[1], string.format('%.3f', later), 'PX', math.ceil((later - now) / 1000))
return '0'
"""

HOLD = """
-- KEYS: the hold, the fences. ARGV: lifetime. Returns a fence and 0, or 0 and how long the holder has left. Fences
-- are microseconds of Redis's clock, so that they go on growing after it has lost its memory: two of its scripts never
-- begin in the same one, and a double holds them exactly until the year 2255.
local left = redis.call('PTTL', KEYS[1])
if left ~= -2 then return {0, left} end
local time = redis.call('TIME')
local floor = time[1] * 1000000 + time[2]
local fence = math.max(floor, tonumber(redis.call('GET', KEYS[2]) or 0) + 1)
local written = string.format('%.0f', fence)
redis.call('SET', KEYS[2], written)
redis.call('SET', KEYS[1], written, 'PX', ARGV[1])
return {written, 0}
"""

RELEASE = """
-- ARGV: the fence. Only its own holder gives it up.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

ALIVE = """
-- KEYS: nodes, sorted by when they are taken for dead. ARGV: node, lifetime. Returns how many live.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
"""
