-- The steps of the store on one server: this script, after head.lua, carries out one of them, as a whole, on one claim.
--
-- KEYS[1] is the claim, a hash of three fields: "h", what changes or decides, packed here; "b", what the client wants to
-- have kept, packed there; and the answer, "a" as it is or "z" compressed. The other keys have the same hash tag, so that they are on the same server,
-- and are made from the prefix: those of its references, and the claims that lock them.
--
-- ARGV: step, prefix, id, and what the step takes. Seconds come as whole microseconds, lists as MessagePack. Of each
-- claim that is returned there are its id, "h", "b", "a", "z" and the time here.

local key, prefix, id = KEYS[1], ARGV[2], ARGV[3]

-- A server that takes no writes, such as a former primary, may hold what is no longer so: it must not even answer. So
-- each step begins with a write that changes nothing. A full server refuses the kind that `begin` tries; of what changes
-- a claim that there is already, it only refuses what a script writes first, and that is let pass.
local refused
if ARGV[1] == 'begin' then
  refused = redis.pcall('SET', prefix .. 'nothing', '', 'XX')
else
  refused = redis.pcall('DEL', prefix .. 'nothing')
end
if type(refused) == 'table' and refused['err'] then
  -- Full, or without a disk to write to, it still knows what it holds.
  if not string.find(refused['err'], 'MISCONF', 1, true) and not string.find(refused['err'], 'OOM', 1, true) then
    return refused
  end
end

-- What is wrong with the rights of the user if a command was refused for that, with its name, which not all servers tell.
-- Anything else, such as a full server, is for the steps to find.
local function lacking(refusal, command)
  if string.find(refusal, "can't run", 1, true) or string.find(refusal, 'ACL failure', 1, true)
    or string.find(refusal, 'NOPERM', 1, true) then
    return "NOPERM this user has no permissions to run the '" .. string.lower(command) .. "' command"
  end
  return nil
end

-- What ends a claim lets it expire at last. Without the right to that it would be left ended by half: it is tried first, on
-- no key.
if ARGV[1] == 'finish' or ARGV[1] == 'release' or ARGV[1] == 'settle' then
  local answer = redis.pcall('PEXPIRE', prefix .. 'nothing', 1)
  local problem = type(answer) == 'table' and answer['err'] and lacking(answer['err'], 'PEXPIRE')
  if problem then
    return redis.error_reply(problem)
  end
end

local function shown(of)
  local fields = redis.call('HMGET', prefix .. 'claim:' .. of, 'h', 'b', 'a', 'z')
  return {of, fields[1], fields[2], fields[3], fields[4], now}
end

-- The id of the claim that locks a reference, if it is another one. A lock without its claim is none.
local function locked_by_other(reference)
  local other = redis.call('GET', prefix .. 'lock:' .. reference)
  if other and other ~= id and redis.call('EXISTS', prefix .. 'claim:' .. other) == 1 then
    return other
  end
  return nil
end

local function unlock(references)
  for _, reference in ipairs(references) do
    local lock = prefix .. 'lock:' .. reference
    if redis.call('GET', lock) == id then
      redis.call('DEL', lock)
    end
  end
end

local function new_head(holder, fingerprint, references, lease, effects)
  local owners = {}
  for _, reference in ipairs(references) do
    local owner = redis.call('GET', prefix .. 'owner:' .. reference)
    if owner then
      owners[#owners + 1] = reference
      owners[#owners + 1] = owner
    end
  end
  return {FORMAT, IN_DOUBT, holder, 1, now, now + lease, now + effects, fingerprint, references, owners,
    false}
end

local steps = {}

function steps.begin(holder, fingerprint, references, lease, effects, body)
  local old = load_head(key)
  if old and not (old[STATE] == SETTLED and old[FINGERPRINT] == fingerprint) then
    return {'held', shown(id)}
  end
  references = cmsgpack.unpack(references)
  for _, reference in ipairs(references) do
    local other = locked_by_other(reference)
    if other then
      return {'busy', shown(other)}
    end
  end
  local head = new_head(holder, fingerprint, references, lease, effects)
  if old then
    head[BEGUN_AT], head[ATTEMPTS], head[RESUMED] = old[BEGUN_AT], old[ATTEMPTS] + 1, true
    redis.call('PERSIST', key)
  end
  redis.call('HSET', key, 'h', cmsgpack.pack(head), 'b', body)
  for _, reference in ipairs(references) do
    redis.call('SET', prefix .. 'lock:' .. reference, id)
  end
  return {'begun', shown(id)}
end

function steps.take_over(holder, lease)
  local head = load_head(key)
  if not head or head[STATE] ~= IN_DOUBT or (head[HOLDER] ~= holder and head[LEASE_UNTIL] > now) then
    return false
  end
  head[HOLDER], head[LEASE_UNTIL] = holder, now + lease
  save_head(key, head)
  return shown(id)
end

function steps.renew(...)
  return renewed(key, ...)
end

function steps.finish(holder, fingerprint, references, lease, effects, body, first_holder, form, answer, retention,
                      keep, allocated, deallocated)
  local head = load_head(key)
  if head and head[STATE] == DONE then
    return
  end
  local taken = head and head[HOLDER] ~= holder and head[FINGERPRINT] ~= fingerprint
  if not head then
    head = new_head(first_holder, fingerprint, cmsgpack.unpack(references), lease, effects)
    redis.call('HSET', key, 'b', body)
  end
  if not taken then
    head[STATE] = DONE
    redis.call('HSET', key, 'h', cmsgpack.pack(head), form, answer)
    redis.call('PEXPIRE', key, milliseconds(retention))
    if tonumber(keep) > 0 then
      for _, reference in ipairs(head[REFERENCES]) do
        if not locked_by_other(reference) then
          redis.call('SET', prefix .. 'lock:' .. reference, id, 'PX', milliseconds(keep))
        end
      end
    else
      unlock(head[REFERENCES])
    end
  end
  for _, reference in ipairs(cmsgpack.unpack(allocated)) do
    redis.call('SET', prefix .. 'owner:' .. reference, id, 'PX', milliseconds(retention))
  end
  for _, reference in ipairs(cmsgpack.unpack(deallocated)) do
    redis.call('DEL', prefix .. 'owner:' .. reference)
  end
end

function steps.release(holder, retention)
  local head = mine(key, holder)
  if not head then
    return
  end
  if head[RESUMED] == true then
    -- It was settled before it was taken up again, and so it is once more: what is known of it stays known.
    head[STATE], head[ATTEMPTS] = SETTLED, head[ATTEMPTS] - 1
    save_head(key, head)
    redis.call('PEXPIRE', key, milliseconds(retention))
  else
    redis.call('DEL', key)
  end
  unlock(head[REFERENCES])
end

function steps.settle(holder, retention)
  local head = mine(key, holder)
  if not head or head[EFFECTS_END_AT] > now then
    return 0
  end
  head[STATE] = SETTLED
  save_head(key, head)
  redis.call('PEXPIRE', key, milliseconds(retention))
  unlock(head[REFERENCES])
  return 1
end

function steps.leave_in_doubt(holder, effects)
  local head = mine(key, holder)
  if head then
    head[LEASE_UNTIL], head[EFFECTS_END_AT] = now, now + effects
    save_head(key, head)
  end
end

-- Is carried out on each new connection, on no claim: the server knows the script then, and would have refused to write.
-- It takes whatever a step may take: a user that lacks a right would leave a claim between two states.
function steps.trial()
  local commands = {
    {'HSET', key, 'h', ''}, {'HGET', key, 'h'}, {'HMGET', key, 'h', 'b'}, {'EXISTS', key}, {'PEXPIRE', key, 60000},
    {'PERSIST', key}, {'DEL', key}, {'SET', key, '', 'PX', 60000}, {'GET', key}, {'DEL', key},
  }
  for _, command in ipairs(commands) do
    local answer = redis.pcall(unpack(command))
    if type(answer) == 'table' and answer['err'] then
      local problem = lacking(answer['err'], command[1])
      if problem then
        redis.pcall('DEL', key)
        return redis.error_reply(problem)
      end
    end
  end
  return 1
end

function steps.read()
  return redis.call('EXISTS', key) == 1 and shown(id)
end

return steps[ARGV[1]](unpack(ARGV, 4))
