-- The steps of the store on a cluster: this script, after head.lua, carries out one of them, as a whole, in one slot.
--
-- A claim is at home with one of its references. The others have their locks in slots of their own, which say where the
-- claim is. All keys of a step are named: a server that has only some of them, since their slot is being moved, refuses
-- the step before it has begun.
--
-- KEYS of a step on a claim: the claim, and as far as the step needs them the lock and the owner of its home. ARGV: step,
-- id, home, retention, and what the step takes. KEYS of "lock", "unlock" and "ended": the lock of another reference, and
-- its owner; of "name": where it is known which home a claim of an id has. ARGV: step, and what it takes.
--
-- A lock is a packed array: the id and the generation of the claim, its home, and whether it only lasts for a time. Each
-- attempt to take the locks of a claim is a generation of its own, so that a lock which comes late is told from the one
-- that counts. An owner is a packed array: the id, and the home of its claim.

local step = ARGV[1]
local steps = {}
local is_on_claim = not (step == 'lock' or step == 'unlock' or step == 'ended' or step == 'name')
local claim, lock, owner = KEYS[1], KEYS[2], KEYS[3]
local id, home, retention = ARGV[2], ARGV[3], ARGV[4]
if not is_on_claim then
  claim, lock, owner = nil, KEYS[1], KEYS[2]
end

-- As in steps.lua: a server that takes no writes must not even answer.
local refused
if step == 'begin' or step == 'lock' or step == 'name' then
  refused = redis.pcall('SETRANGE', lock, 0, '')
elseif is_on_claim and claim then
  refused = redis.pcall('HDEL', claim, '')
end
if type(refused) == 'table' and refused['err'] then
  if not string.find(refused['err'], 'MISCONF', 1, true) and not string.find(refused['err'], 'OOM', 1, true) then
    return refused
  end
end

local function shown()
  local fields = redis.call('HMGET', claim, 'h', 'b', 'a', 'z')
  return {id, fields[1], fields[2], fields[3], fields[4], now}
end

-- Whether the lock of its home is this claim's, of whichever generation: the claim is here, and knows which counts.
local function is_own(packed)
  local held = cmsgpack.unpack(packed)
  return held[1] == id and held[3] == home
end

local function unlock_home()
  local held = redis.call('GET', lock)
  if held and is_own(held) then
    redis.call('DEL', lock)
  end
end

-- What others have to be told of a claim of several references.
local function told(head)
  if #head[REFERENCES] > 1 then
    return {cmsgpack.pack(head), now}
  end
  return 1
end

-- Takes back that it was begun.
local function give_back(head)
  unlock_home()
  if head[RESUMED] ~= true then
    redis.call('DEL', claim)
    return nil
  end
  head[STATE], head[ATTEMPTS], head[TAKING], head[GENERATION] = SETTLED, head[ATTEMPTS] - 1, false, ''
  save_head(claim, head)
  redis.call('PEXPIRE', claim, milliseconds(retention))
  return head
end

-- The claim as it is. One whose locks were not all taken in time was certainly not sent, and never will be.
local function load_current()
  local head = load_head(claim)
  if head and head[STATE] == IN_DOUBT and head[TAKING] == true and head[LEASE_UNTIL] <= now then
    return give_back(head)
  end
  return head
end

local function new_head(holder, fingerprint, references, lease, effects)
  local owners = {}
  local known = redis.call('GET', owner)
  if known then
    owners = {home, cmsgpack.unpack(known)[1]}
  end
  return {FORMAT, IN_DOUBT, holder, 1, now, now + lease, now + effects, fingerprint, references, owners,
    false, false, '', '', 0}
end

function steps.begin(holder, fingerprint, references, lease, effects, body, generation, value)
  local old = load_current()
  local is_again = old and old[STATE] == IN_DOUBT and old[TAKING] == true and old[HOLDER] == holder
  if old and not is_again and not (old[STATE] == SETTLED and old[FINGERPRINT] == fingerprint) then
    return {'held', shown()}
  end
  local held = redis.call('GET', lock)
  if held and not is_own(held) then
    return {'locked', held}
  end
  references = cmsgpack.unpack(references)
  local head = new_head(holder, fingerprint, references, lease, effects)
  if is_again then
    head[BEGUN_AT], head[ATTEMPTS], head[RESUMED] = old[BEGUN_AT], old[ATTEMPTS], old[RESUMED]
  elseif not old then
    -- A claim that could not be ended is not begun: what its end takes must not be refused. On no key they do nothing.
    redis.call('HDEL', claim, '')
    redis.call('DEL', claim)
    redis.call('PEXPIRE', claim, 1)
  else
    head[BEGUN_AT], head[ATTEMPTS], head[RESUMED] = old[BEGUN_AT], old[ATTEMPTS] + 1, true
    redis.call('PERSIST', claim)
  end
  head[TAKING], head[GENERATION] = #references > 1, generation
  redis.call('HSET', claim, 'h', cmsgpack.pack(head), 'b', body)
  redis.call('SET', lock, value)
  return {'begun', shown()}
end

-- All its locks are taken: from now on it may be sent. Whoever found it abandoned before has ended it, see load_current.
function steps.confirm(holder, generation, owners)
  local head = mine(claim, holder)
  if not head or head[GENERATION] ~= generation then
    return false
  end
  if head[TAKING] == true then
    head[TAKING], head[OWNERS] = false, cmsgpack.unpack(owners)
    save_head(claim, head)
  end
  return shown()
end

function steps.take_over(holder, lease)
  local head = load_head(claim)
  if not head or head[STATE] ~= IN_DOUBT or head[TAKING] == true
    or (head[HOLDER] ~= holder and head[LEASE_UNTIL] > now) then
    return false
  end
  head[HOLDER], head[LEASE_UNTIL] = holder, now + lease
  save_head(claim, head)
  return shown()
end

function steps.renew(...)
  return renewed(claim, ...)
end

local function mark_owner(mark, owned)
  if mark == 'a' then
    redis.call('SET', owner, owned, 'PX', milliseconds(retention))
  elseif mark == 'd' then
    redis.call('DEL', owner)
  end
end

function steps.finish(holder, fingerprint, references, lease, effects, body, first_holder, form, answer, keep,
                      allocated, deallocated, owned, kept)
  local head = load_head(claim)
  if head and head[STATE] == DONE then
    -- Whoever has recorded that may not have come to tell the others.
    return told(head)
  end
  local mark = {}
  for _, reference in ipairs(cmsgpack.unpack(allocated)) do
    mark[reference] = 'a'
  end
  for _, reference in ipairs(cmsgpack.unpack(deallocated)) do
    mark[reference] = 'd'
  end
  if head and head[HOLDER] ~= holder and head[FINGERPRINT] ~= fingerprint then
    mark_owner(mark[home], owned)
    return 1
  end
  if not head then
    head = new_head(first_holder, fingerprint, cmsgpack.unpack(references), lease, effects)
    redis.call('HSET', claim, 'b', body)
  end
  if head[TAKING] == true then
    -- It is another attempt that takes locks, and they say nothing of when this one was carried out.
    head[GENERATION] = ''
  end
  local marks = {}
  for place, reference in ipairs(head[REFERENCES]) do
    marks[place] = mark[reference] or '-'
  end
  head[STATE], head[TAKING], head[MARKS] = DONE, false, table.concat(marks)
  head[KEPT_UNTIL] = tonumber(keep) > 0 and now + keep or 0
  redis.call('HSET', claim, 'h', cmsgpack.pack(head), form, answer)
  redis.call('PEXPIRE', claim, milliseconds(retention))
  local held = redis.call('GET', lock)
  if not held or is_own(held) then
    redis.call('DEL', lock)
    if tonumber(keep) > 0 then
      redis.call('SET', lock, kept, 'PX', milliseconds(keep))
    end
  end
  mark_owner(mark[home], owned)
  return told(head)
end

function steps.release(holder)
  local head = mine(claim, holder)
  if not head then
    return 0
  end
  local answer = told(head)
  give_back(head)
  return answer
end

function steps.settle(holder)
  local head = mine(claim, holder)
  if not head or head[EFFECTS_END_AT] > now then
    return 0
  end
  head[STATE] = SETTLED
  save_head(claim, head)
  redis.call('PEXPIRE', claim, milliseconds(retention))
  unlock_home()
  return told(head)
end

function steps.leave_in_doubt(holder, effects)
  local head = mine(claim, holder)
  if head then
    head[LEASE_UNTIL], head[EFFECTS_END_AT] = now, now + effects
    save_head(claim, head)
  end
end

-- Tells where else it is, if it is known for having allocated the reference.
function steps.read()
  if load_current() then
    return {'here', shown()}
  end
  local known = redis.call('GET', owner)
  if known then
    local owned = cmsgpack.unpack(known)
    if owned[1] == id and owned[2] ~= home then
      return {'at', owned[2]}
    end
  end
  return false
end

function steps.lock(value)
  local held = redis.call('GET', lock)
  if held and held ~= value then
    return {'locked', held}
  end
  redis.call('SET', lock, value)
  return {'taken', redis.call('GET', owner)}
end

function steps.unlock(value)
  if redis.call('GET', lock) == value then
    redis.call('DEL', lock)
  end
end

-- A claim that held the lock has taken effect. Its locks of that time are the only ones that say whose the reference is.
function steps.ended(value, mark, owned, kept_for, keep, kept)
  if redis.call('GET', lock) ~= value then
    return
  end
  redis.call('DEL', lock)
  if tonumber(keep) > 0 then
    redis.call('SET', lock, kept, 'PX', milliseconds(keep))
  end
  retention = kept_for
  mark_owner(mark, owned)
end

-- An id is one request's. Returns the home of another one, unless that is the one to be replaced.
function steps.name(here, kept_for, replaced)
  local known = redis.call('GET', lock)
  if known and known ~= here and known ~= replaced then
    return known
  end
  redis.call('SET', lock, here, 'PX', milliseconds(kept_for))
  return false
end

-- Is carried out on each new connection, without any key: the server knows the script then.
function steps.trial()
  return 1
end

return steps[step](unpack(ARGV, is_on_claim and 5 or 2))
