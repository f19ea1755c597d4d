from recorded_calls import recorded
from whole_calls import log, staging

__all__ = ["log", "recorded", "staging"]
