CREATE INDEX payments_capture ON payments (capture_id)
WHERE capture_id IS NOT NULL;
