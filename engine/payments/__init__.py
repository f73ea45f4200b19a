"""Money for the holds: the gateway's protocol, and the adapter that speaks to Stripe."""
