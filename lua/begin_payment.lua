#!lua flags=allow-oom
-- Writes down what will be asked of the gateway, under which key, before it is asked. The hold's
-- deadline moves to the end of its one grace while the attempt is open. A final answer to the same
-- key is replayed; an open attempt with the same key is joined.
-- keys:     meta
-- derives:  journal deadlines due booking tombstone idempotency payments lease
-- args:     generation seen booking_id customer_id key fingerprint gateway method owner lease_ms
--           grace_ms max_attempts return_url trace
-- outcomes: fenced replayed idempotency_key_reused absent evicted hold_expired invalid_state
--           payment_free attempts_exhausted joined begun
-- entries:  payment_begun
-- @include keys
-- @include lib/partition
-- @include lib/lost
-- @include lib/append
-- @include lib/booking
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/save
-- @include lib/repair_due
-- @include lib/replay
-- @include lib/find_booking
-- @include lib/reply
-- @include lib/schedule
local partition, fenced = open_partition()
if fenced then
  return fenced
end
local booking_id, customer_id, key, fingerprint = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local replay = replay_reply(partition, key_idempotency('pay', booking_id, key, customer_id), fingerprint)
if replay then
  return replay
end
local booking, refusal = find_booking(partition, booking_id, customer_id)
if not booking then
  return refusal
end
if booking.payment_key == key then
  if booking.payment_fingerprint ~= fingerprint then
    return {'idempotency_key_reused', partition.sequence, ''}
  end
  return booking_reply('joined', partition, booking)
end
if booking.status ~= 'PENDING' then
  local expired = booking.cancel_reason == 'expired'
  return booking_reply(expired and 'hold_expired' or 'invalid_state', partition, booking)
end
if booking.payment_step and booking.payment_step ~= 'none' then
  return booking_reply('invalid_state', partition, booking)
end
if booking.hold_expires_ms <= partition.now_ms then
  return booking_reply('hold_expired', partition, booking)
end
if booking.amount == 0 then
  return booking_reply('payment_free', partition, booking)
end
local attempt = (booking.payment_attempt or 0) + 1
if attempt > tonumber(ARGV[12]) then
  return booking_reply('attempts_exhausted', partition, booking)
end

step_booking(partition, booking)
booking.payment_status = 'AUTHORIZING'
booking.payment_step = 'authorize'
booking.payment_attempt = attempt
booking.payment_gateway = ARGV[7]
booking.payment_method = ARGV[8]
booking.payment_key = key
booking.payment_fingerprint = fingerprint
booking.payment_begun_ms = partition.now_ms
booking.payment_return_url = ARGV[13] ~= '' and ARGV[13] or nil
booking.payment_authorization_id = nil
booking.payment_capture_id = nil
booking.payment_decline_code = nil
booking.payment_next_action = nil
booking.deadline_ms = booking.hold_expires_ms + tonumber(ARGV[11])
local sequence = append(partition, booking_entry('payment_begun', booking, '', '', ARGV[14]))
save_booking(booking, sequence, {'payment_status', 'payment_step', 'payment_attempt',
  'payment_gateway', 'payment_method', 'payment_key', 'payment_fingerprint', 'payment_begun_ms',
  'payment_return_url',
  'payment_authorization_id', 'payment_capture_id', 'payment_decline_code', 'payment_next_action',
  'deadline_ms'})
redis.call('ZADD', key_deadlines(booking.sale_id), string.format('%d', booking.deadline_ms), booking_id)
repair_due(booking.sale_id)
redis.call('SET', key_lease(booking_id), ARGV[9], 'PX', ARGV[10])
schedule_payment(partition, booking_id, tonumber(ARGV[10]))
return booking_reply('begun', partition, booking)
