-- Writes hashes, and moves a guard, as one step that nobody sees half of.
--
-- KEYS[1]   the guard                ARGV[1]  what it must begin with, or '*' for anything
-- KEYS[2..] the hashes               ARGV[2]  what it holds then, or '' to leave it
-- From ARGV[3] on, for each hash: 'whole' or 'change', its position, the seconds until it expires
-- (0: never), the number of values that follow, then name, value, name, value ..., and a field that a change
-- removes, or ''
--
-- Nothing older overwrites something newer. A whole hash replaces one of the same position, which may have lost
-- a field, and whatever else is at its key. A change onto a missing hash writes nothing: it would come back as
-- half a hash. Returns 0 when the guard holds something else.
if ARGV[1] ~= '*' then
    local held = redis.pcall('GET', KEYS[1])
    if type(held) ~= 'string' or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then
        return 0
    end
end
local at = 3
for i = 2, #KEYS do
    local key, whole = KEYS[i], ARGV[at] == 'whole'
    local position, expire, count = tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3])
    local found = redis.pcall('HGET', key, 'position')
    local known = type(found) == 'string' and tonumber(found)
    if whole and (not known or known <= position) then
        redis.call('DEL', key)
        redis.call('HSET', key, unpack(ARGV, at + 4, at + 3 + count))
        if expire ~= '0' then
            redis.call('EXPIRE', key, expire)
        end
    elseif not whole and known and known < position then
        redis.call('HSET', key, unpack(ARGV, at + 4, at + 3 + count))
        if ARGV[at + 4 + count] ~= '' then
            redis.call('HDEL', key, ARGV[at + 4 + count])
        end
        if expire ~= '0' then
            redis.call('EXPIRE', key, expire)
        end
    end
    at = at + 5 + count
end
if ARGV[2] ~= '' then
    redis.call('SET', KEYS[1], ARGV[2])
end
return 1
