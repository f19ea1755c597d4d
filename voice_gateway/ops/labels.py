"""The values that labels of metrics may have: whatever else is counted becomes `OTHER`."""

from __future__ import annotations

from typing import Final

OTHER: Final = "other"

DIRECTIONS: Final = ("inbound", "outbound", "browser", "api")
OUTCOMES: Final = ("completed", "failed", "no_answer", "busy", "canceled")
HOLD_OUTCOMES: Final = ("confirmed", "in_vain")
HANDOFF_OUTCOMES: Final = ("update", "session", "failed")
LEGS: Final = ("caller", "model", "browser")
LEG_ERRORS: Final = ("refused", "timeout", "lost", "stalled", "protocol", "oversized", "unavailable")
DROP_REASONS: Final = (
    "after_stop", "bad_digit", "bad_mark", "bad_media", "bad_payload", "bad_start", "bad_timestamp", "before_start",
    "binary", "foreign_stream", "not_an_object", "not_json", "out_of_order", "oversized", "second_start",
    "unknown_event", "wrong_track",
)  # fmt: skip
DOORS: Final = ("webhook", "stream", "browser", "api", "admission", "mcp")
REFUSALS: Final = (
    "signature", "token", "replayed", "expired", "unknown_call", "second_stream", "no_start", "full", "draining",
    "disabled", "bad_form", "gone", "no_call_sid", "too_large", "too_slow", "origin", "rate", "host",
    "caller_budget", "day_budget",
)  # fmt: skip
MCP_DOORS: Final = ("http", "ws", "stdio")
API_DOORS: Final = (
    "say", "persona", "end_session", "personas", "tools", "calls", "ai_healthz", "healthz",
)  # fmt: skip
STATUSES: Final = (
    "200", "400", "401", "404", "405", "408", "409", "413", "415", "422", "429", "499", "500", "502", "503", "504",
)  # fmt: skip
STALLS: Final = ("media_stalled", "speech_stalled", "response_stalled", "send_blocked", "end_stuck")
TRANSFER_OUTCOMES: Final = ("completed", "answered", "busy", "no-answer", "failed", "canceled")
END_OUTCOMES: Final = ("ended", "failed", "left_open")
TOOL_OUTCOMES: Final = ("ok", "failed", "timeout", "unknown", "refused")
GUARDRAIL_OUTCOMES: Final = ("passed", "tripped", "failed")
SUPERVISOR_OUTCOMES: Final = ("answered", "replaced", "deadline", "refused", "failed")
TRACE_OUTCOMES: Final = ("kept", "cut", "failed", "discarded")
RECORDING_OUTCOMES: Final = ("kept", "failed", "discarded")

# Codes that ask for different things to be done: those of the Realtime API's `error` events and failed responses, those
# of a connection that could not be had or kept, and the HTTP statuses and close codes among them that are met.
MODEL_ERRORS: Final = (
    "account_deactivated", "beta_api_shape_disabled", "billing_hard_limit_reached", "cannot_update_voice",
    "content_filter", "conversation_already_has_active_response", "inference_rate_limit_exceeded",
    "input_audio_buffer_commit_empty", "insufficient_quota", "invalid_api_key", "invalid_event", "invalid_value",
    "item_delete_invalid_item_id", "item_truncate_invalid_item_id", "max_output_tokens", "missing_required_parameter",
    "model_not_found", "rate_limit_exceeded", "response_cancel_not_active", "response_failed", "server_error",
    "session_expired", "transcription_failed", "unknown_parameter", "unsupported_content_type",
    "bad_header", "bad_url", "connection_refused", "dns_failed", "format_mismatch", "handshake_failed",
    "model_stalled", "network_failed", "no_key", "ping_timeout", "proxy_failed", "timeout", "tls_failed",
    "http_401", "http_403", "http_404", "http_429", "http_500", "http_502", "http_503",
    "closed_1000", "closed_1001", "closed_1006", "closed_1008", "closed_1011", "closed_1012",
)  # fmt: skip
