"""A telephony voice gateway between Twilio Media Streams and the OpenAI Realtime API."""

__version__ = "0.1.0"
