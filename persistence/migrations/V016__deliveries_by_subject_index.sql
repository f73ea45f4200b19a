CREATE INDEX deliveries_by_subject ON deliveries (subject, destination, delivery_id)
WHERE state = 'waiting';
