#!lua flags=allow-oom
-- Turns a live hold whose total is 0 into a sale; a total above 0 takes begin_payment.
-- The first answer is kept per (customer, booking, key).
-- keys:     meta
-- derives:  journal stock deadlines due finished booking tombstone idempotency
-- args:     generation seen booking_id customer_id key fingerprint idempotency_ttl_ms trace
-- outcomes: fenced replayed idempotency_key_reused absent evicted hold_expired invalid_state
--           payment_required confirmed
-- entries:  confirmed
-- @include keys
-- @include lib/partition
-- @include lib/lost
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/save
-- @include lib/demand
-- @include lib/move
-- @include lib/repair_due
-- @include lib/replay
-- @include lib/find_booking
-- @include lib/reply
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id, customer_id, key, fingerprint = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local record_key = key_idempotency('pay', booking_id, key, customer_id)
local replay = replay_reply(partition, record_key, fingerprint)
if replay then
  return replay
end
local booking, refusal = find_booking(partition, booking_id, customer_id)
if not booking then
  return refusal
end
if booking.status ~= 'PENDING' then
  local expired = booking.cancel_reason == 'expired'
  return booking_reply(expired and 'hold_expired' or 'invalid_state', partition, booking)
end
if booking.hold_expires_ms <= partition.now_ms then
  return booking_reply('hold_expired', partition, booking)
end
if booking.amount > 0 then
  return booking_reply('payment_required', partition, booking)
end

local order, units = demand_of(booking.lines)
local plan = plan_move(booking.sale_id, order, units, 'held', 'sold')
step_booking(partition, booking)
booking.status = 'CONFIRMED'
local sequence = append(partition, booking_entry('confirmed', booking, plan.deltas, plan.levels,
  ARGV[8], string.format(',"key":"%s","fingerprint":"%s"', key, fingerprint)))
apply_move(plan)
save_booking(booking, sequence, {'status'})
redis.call('ZREM', key_deadlines(booking.sale_id), booking_id)
repair_due(booking.sale_id)
redis.call('ZADD', key_finished(), string.format('%d', booking.updated_ms), booking_id)
redis.call('SET', record_key, fingerprint .. ' ' .. booking_json(booking), 'PX', ARGV[7])
return booking_reply('confirmed', partition, booking)
