"""A call's trace: every event with its time and the commands it led to, kept in a file, replayed and drawn."""
