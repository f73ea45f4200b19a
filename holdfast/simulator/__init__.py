"""A payment gateway to develop and test against: Stripe's PaymentIntents, without Stripe."""
