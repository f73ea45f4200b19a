CREATE INDEX contacts_email ON contacts (email_hash)
WHERE email_hash IS NOT NULL;
