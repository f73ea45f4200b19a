#!lua
-- Holds stock for a booking: all lines or none.
-- keys:     meta
-- derives:  journal sales sale stock customers deadlines due finished booking contact idempotency rate
--           retired
-- args:     generation seen booking_id sale_id customer_id key fingerprint idempotency_ttl_ms
--           interval_us burst_us max_backlog_entries max_backlog_bytes max_backlog_age_ms
--           max_due_scanned max_taken max_amount contact trace [item_id quantity]...
-- outcomes: fenced replayed idempotency_key_reused rate_limited shed backlog_full unknown_sale
--           sale_not_open sale_closed unknown_item booking_limit amount_too_large customer_limit
--           due_backlog sold_out held
-- entries:  expired held
-- @include keys
-- @include lib/partition
-- @include lib/frozen
-- @include lib/lost
-- @include lib/is_taken
-- @include lib/append
-- @include lib/booking_json
-- @include lib/entry
-- @include lib/demand
-- @include lib/move
-- @include lib/allow_rate
-- @include lib/replay
-- @include lib/hold_record
-- @include lib/pressure
-- @include lib/retired

-- Takes due holds back where units are missing (`short`, by item) or the customer is over its cap
-- (`excess`). All is decided before the first is. Returns how many it took back; or nil, and the reply.
-- What only this needs is made in here: each function is made and cleared away again in every call, and
-- most holds take nothing back.
local function make_room(partition, sale_id, short, customer_id, excess, max_scanned, max_taken, trace)
-- @include lib/booking
-- @include lib/save
-- @include lib/forget_units
-- @include lib/end_booking
-- @include lib/due
-- @include lib/take_back
-- @include lib/repair_due
  local due, lost = due_bookings(partition, sale_id, max_scanned + 1)
  if not due then
    return nil, lost
  end
  local chosen, more, over_cap = choose_due(due, short, customer_id, excess, max_scanned, max_taken)
  if more then
    -- The caller asks again by itself, up to some rounds: that must not cost the customer's rate.
    return nil, {'due_backlog', partition.sequence, ''}
  elseif not chosen then
    return nil, {over_cap and 'customer_limit' or 'sold_out', partition.sequence, ''}
  end
  for _, booking in ipairs(chosen) do
    end_booking(partition, booking, 'expired', 'expired', trace)
  end
  repair_due(sale_id)
  return #chosen
end

local partition, fenced = open_partition()
fenced = fenced or refuse_frozen(partition, ARGV[4])
if fenced then
  return fenced
end
local booking_id, sale_id, customer_id, key = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local fingerprint, contact, trace = ARGV[7], ARGV[17], ARGV[18]

local record_key = key_idempotency('hold', sale_id, key, customer_id)
local replay = replay_hold(partition, record_key, fingerprint, sale_id, customer_id)
if replay then
  return replay
end

local arrival_us, wait_us = plan_rate(partition, customer_id, tonumber(ARGV[9]), tonumber(ARGV[10]))
if wait_us then
  return {'rate_limited', partition.sequence, string.format('%d', math.ceil(wait_us / 1000))}
end
local pressure = pressure_of(partition, tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]))
if pressure then
  return {pressure, partition.sequence, ''}
end

local function refuse(outcome, detail)
  spend_rate(partition, customer_id, arrival_us)
  return {outcome, partition.sequence, detail or ''}
end

local sale = redis.call('HMGET', key_sale(sale_id), 'opens_ms', 'closes_ms', 'hold_ms',
  'max_units_per_customer', 'currency')
if not sale[1] then
  if redis.call('ZSCORE', key_sales(), sale_id) and not is_retired(sale_id) then
    lose('keys_missing')
  end
  -- One that has left is closed.
  return refuse(is_retired(sale_id) and 'sale_closed' or 'unknown_sale')
end
local closes_ms = tonumber(sale[2])
if partition.now_ms < tonumber(sale[1]) then
  return refuse('sale_not_open')
end
if closes_ms > 0 and partition.now_ms >= closes_ms then
  return refuse('sale_closed')
end

local fields = {}
for i = 19, #ARGV, 2 do
  fields[#fields + 1] = ARGV[i] .. ':unit_price'
  fields[#fields + 1] = ARGV[i] .. ':max_per_booking'
  fields[#fields + 1] = ARGV[i] .. ':available'
  fields[#fields + 1] = ARGV[i] .. ':held'
  fields[#fields + 1] = ARGV[i] .. ':sold'
end
local stock = redis.call('HMGET', key_stock(sale_id), unpack(fields))
local max_amount, amount, parts = tonumber(ARGV[16]), 0, {}
local available, max_per_booking, counts = {}, {}, {}
for i = 19, #ARGV, 2 do
  local item_id, at = ARGV[i], (i - 19) / 2 * 5
  if not stock[at + 1] then
    if redis.call('EXISTS', key_stock(sale_id)) == 0 then
      lose('keys_missing')
    end
    return refuse('unknown_item', item_id)
  end
  parts[#parts + 1] = item_id .. ':' .. ARGV[i + 1] .. ':' .. stock[at + 1]
  if not available[item_id] then
    max_per_booking[item_id] = tonumber(stock[at + 2])
    available[item_id] = tonumber(stock[at + 3])
    for side = 3, 5 do
      counts[#counts + 1] = stock[at + side]
    end
  end
  -- Beyond 2^53 the product is rounded, but never to below the bound: the comparison holds.
  amount = amount + tonumber(ARGV[i + 1]) * tonumber(stock[at + 1])
end
local lines = table.concat(parts, ',')
local order, units, total = demand_of(lines)
for _, item_id in ipairs(order) do
  if max_per_booking[item_id] > 0 and units[item_id] > max_per_booking[item_id] then
    return refuse('booking_limit', item_id)
  end
end
if amount > max_amount then
  return refuse('amount_too_large')
end

local excess, cap = 0, tonumber(sale[4])
if cap > 0 then
  local counted = redis.call('HGET', key_customers(sale_id), customer_id)
  if not counted and redis.call('EXISTS', key_customers(sale_id)) == 0 and is_taken(sale_id) then
    lose('keys_missing')
  end
  excess = tonumber(counted or 0) + total - cap
  if total > cap then
    return refuse('customer_limit')
  end
end
local short, short_item = {}, nil
for _, item_id in ipairs(order) do
  if units[item_id] > available[item_id] then
    short[item_id] = units[item_id] - available[item_id]
    short_item = short_item or item_id
  end
end
local taken = 0
if excess > 0 or short_item then
  local refusal
  taken, refusal = make_room(partition, sale_id, short, customer_id, excess, tonumber(ARGV[14]),
    tonumber(ARGV[15]), trace)
  if not taken then
    if refusal[1] == 'customer_limit' then
      return refuse('customer_limit')
    elseif refusal[1] ~= 'sold_out' then
      return refusal
    end
    local held = tonumber(redis.call('HGET', key_stock(sale_id), short_item .. ':held'))
    if held > 0 and redis.call('EXISTS', key_deadlines(sale_id)) == 0 then
      -- Units that no deadline would ever give back.
      lose('keys_missing')
    end
    refusal = refuse('sold_out', short_item)
-- @include lib/unchanged
    refusal[4] = string.format('%d', unchanged_ms(partition, sale_id, closes_ms, cap))
    return refusal
  end
end

-- From here on everything is decided: writes only, each change after its entry.
-- Units that were just taken back are among the counts only where they are read again.
local plan = plan_move(sale_id, order, units, 'available', 'held', taken == 0 and counts or nil)
local booking = new_hold(booking_id, sale_id, customer_id, lines, amount, sale[5],
  partition.now_ms + tonumber(sale[3]), partition.now_ms)
local has_contact = contact ~= ''
local members = booking_members(booking)
local sequence = append(partition, entry_of('held', partition.now_ms, members, plan.deltas, plan.levels,
  trace, string.format(',"key":"%s","fingerprint":"%s","contact":%s', key, fingerprint,
    has_contact and 'true' or 'false')))
apply_move(plan)
local created, expires = string.format('%d', booking.created_ms), string.format('%d', booking.hold_expires_ms)
redis.call('HSET', key_booking(booking_id),
  'sale_id', sale_id, 'customer_id', customer_id, 'status', 'PENDING', 'version', '1',
  'lines', lines, 'amount', string.format('%d', amount), 'currency', sale[5],
  'hold_expires_ms', expires, 'deadline_ms', expires, 'created_ms', created, 'updated_ms', created,
  'extended', '0', 'sequence', string.format('%d', sequence))
redis.call('ZADD', key_deadlines(sale_id), expires, booking_id)
redis.call('HINCRBY', key_customers(sale_id), customer_id, string.format('%d', total))
redis.call('ZADD', key_due(), 'LT', expires, sale_id)
redis.call('SET', record_key, hold_record(fingerprint, booking), 'PX', ARGV[8])
if has_contact then
  redis.call('SET', key_contact(booking_id), contact)
end
spend_rate(partition, customer_id, arrival_us)
return {'held', partition.sequence, '{' .. members .. '}'}
