"""The call itself: pure. No await, no clock, no log, no JSON, no environment; time is an argument in seconds."""
