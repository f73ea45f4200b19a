"""The whole system while parts of it are killed, frozen, put back or lied to."""
