"""The memory: what happened in calls, and the rows that tools read."""
