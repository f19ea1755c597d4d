from whole_calls import log, staging

__all__ = ["log", "staging"]
