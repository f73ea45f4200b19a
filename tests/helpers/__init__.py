"""What several tests need: real servers, a whole system."""
