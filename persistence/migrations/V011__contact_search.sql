-- The e-mail of a contact as something to look for, and not to read: a keyed hash.

ALTER TABLE contacts ADD COLUMN email_hash bytea;
COMMENT ON COLUMN contacts.email_hash IS
'HMAC of the e-mail under a key derived from that which encrypts; forgotten with the contact.';
