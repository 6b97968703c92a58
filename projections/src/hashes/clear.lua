-- Removes keys before a copy: KEYS[1] its mark, ARGV[1] the mark's own value, KEYS[2..] what goes.
-- Returns 0 when the copy was interrupted: then they may already be another copy's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
for i = 2, #KEYS do
    redis.call('UNLINK', KEYS[i])
end
return 1
