-- What the steps of all stores on servers know of a claim: how it is packed, and what time it is there.

-- The places in "h". What a later release adds comes after them, and is kept when an earlier one packs it again.
-- The first is the format's version, which changes only with what it could not tell.
local STATE, HOLDER, ATTEMPTS, BEGUN_AT, LEASE_UNTIL, EFFECTS_END_AT = 2, 3, 4, 5, 6, 7
local FINGERPRINT, REFERENCES, OWNERS = 8, 9, 10
-- Whether it was settled when it was begun last. Claims of releases that did not have it are none of those.
local RESUMED = 11
-- On a cluster alone: whether it still waits for its other locks, which attempt at them it is, what became of each of its
-- references, and until when these stay locked.
local TAKING, GENERATION, MARKS, KEPT_UNTIL = 12, 13, 14, 15
local FORMAT = 1
local IN_DOUBT, DONE, SETTLED = 0, 1, 2

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function milliseconds(microseconds)
  return string.format('%.0f', math.ceil(microseconds / 1000))
end

local function load_head(key)
  local packed = redis.call('HGET', key, 'h')
  if not packed and redis.call('EXISTS', key) == 0 then
    return nil
  end
  -- What cannot be read may be in doubt: it must not be taken for nothing.
  local head = packed and cmsgpack.unpack(packed)
  if type(head) ~= 'table' or #head < OWNERS then
    error('this is no claim')
  end
  return head
end

local function save_head(key, head)
  redis.call('HSET', key, 'h', cmsgpack.pack(head))
end

local function mine(key, holder)
  local head = load_head(key)
  if head and head[STATE] == IN_DOUBT and head[HOLDER] == holder then
    return head
  end
  return nil
end

local function renewed(key, holder, lease, effects, attempts, body)
  local head = mine(key, holder)
  if not head then
    return 0
  end
  head[LEASE_UNTIL] = now + lease
  if effects ~= '' then
    head[EFFECTS_END_AT] = now + effects
  end
  head[ATTEMPTS] = head[ATTEMPTS] + attempts
  save_head(key, head)
  if body ~= '' then
    redis.call('HSET', key, 'b', body)
  end
  return 1
end
