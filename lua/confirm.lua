#!lua flags=allow-oom
-- The gateway has authorized: held becomes sold, and the capture is written down before it is
-- asked. A hold that expired meanwhile takes new stock if it may and all of it is there (never after
-- a cancel), else the authorization will be voided.
-- keys:     meta
-- derives:  journal sale stock customers deadlines due finished booking tombstone payments lease
-- args:     generation seen booking_id owner attempt authorization_id trace
-- outcomes: fenced absent evicted lease_lost moved_on confirmed late_money
-- entries:  confirmed late_money
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
-- @include lib/take_again
-- @include lib/repair_due
-- @include lib/find_booking
-- @include lib/reply
-- @include lib/lease
-- @include lib/find_payment
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id, trace = ARGV[3], ARGV[7]
local booking, refusal = find_payment(partition, booking_id, ARGV[4], ARGV[5], {'authorize'})
if not booking then
  return refusal
end
local in_time, reason = booking.status == 'PENDING', booking.cancel_reason
local order, units, total = demand_of(booking.lines)
local sold = in_time
if reason == 'expired' then
  sold = may_take_again(partition, booking, order, units, total)
end

step_booking(partition, booking)
booking.payment_authorization_id = ARGV[6]
booking.payment_next_action = nil
local plan = {deltas = '', levels = ''}
if sold then
  plan = plan_move(booking.sale_id, order, units, in_time and 'held' or 'available', 'sold')
  booking.status = 'CONFIRMED'
  booking.cancel_reason = nil
  booking.payment_status = 'CAPTURING'
  booking.payment_step = 'capture'
else
  booking.payment_status = 'AUTHORIZED'
  booking.payment_step = 'void'
end
local outcome = in_time and 'confirmed' or 'late_money'
local sequence = append(partition, booking_entry(outcome, booking, plan.deltas, plan.levels, trace))
if sold then
  apply_move(plan)
end
if in_time then
  redis.call('ZREM', key_deadlines(booking.sale_id), booking_id)
  repair_due(booking.sale_id)
elseif sold then
  redis.call('HINCRBY', key_customers(booking.sale_id), booking.customer_id, string.format('%d', total))
end
save_booking(booking, sequence, {'status', 'cancel_reason', 'payment_status', 'payment_step',
  'payment_authorization_id', 'payment_next_action'})
redis.call('ZADD', key_finished(), string.format('%d', booking.updated_ms), booking_id)
return booking_reply(outcome, partition, booking)
