-- Ends a copy: KEYS[1] its mark, ARGV[1] the mark's own value; KEYS[2] the checkpoint, ARGV[2] its value.
-- Returns 0 when the copy was interrupted (a flush, another copy) or somebody else has set a checkpoint.
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 1 then
    return 0
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[1])
return 1
