"""The names that the Realtime protocol uses on the wire: server events, and what an error code means for a call.

Source: OpenAI Realtime API, GA (the server events of `/v1/realtime`). An event that is missing here is unknown to us.
"""

from __future__ import annotations

from typing import Final

SERVER_EVENTS: Final = frozenset(
    {
        "error",
        "session.created",
        "session.updated",
        "rate_limits.updated",
        # the conversation
        "conversation.created",  # typed, never sent by the GA service
        "conversation.item.created",  # as above
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.retrieved",
        "conversation.item.truncated",
        "conversation.item.deleted",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
        "conversation.item.input_audio_transcription.segment",
        # audio buffers
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.dtmf_event_received",  # SIP alone
        "output_audio_buffer.started",  # WebRTC and SIP alone, like the next two
        "output_audio_buffer.stopped",
        "output_audio_buffer.cleared",
        # the response stream
        "response.created",
        "response.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        # tools that the server runs by itself
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
    }
)

FATAL_CODES: Final = frozenset(
    {
        "account_deactivated",
        "beta_api_shape_disabled",
        "billing_hard_limit_reached",
        "insufficient_quota",
        "invalid_api_key",
        "model_not_found",
        "session_expired",
    }
)
"""Error codes after which a session is of no use, whether or not the server closes it."""

_PERMANENT: Final = (FATAL_CODES - {"session_expired"}) | {
    "bad_header",
    "bad_url",
    "cannot_update_voice",
    "format_mismatch",
    "missing_required_parameter",
    "no_key",
    "tls_failed",
    "unknown_parameter",
}
_PERMANENT_STATUS: Final = frozenset(range(300, 500)) - {408, 409, 425, 429}
_PERMANENT_CLOSE: Final = frozenset({1002, 1003, 1007, 1008, 1009, 1010, *range(3000, 5000)})


def is_retryable(code: str) -> bool:
    """Whether opening a session again, once, may help: no for what a human must mend first. Unknown codes may.

    code: an error code of the protocol, one of our own, `http_<status>` or `closed_<WebSocket close code>`.
    """
    kind, _, number = code.partition("_")
    if number.isdecimal():
        permanent = {"http": _PERMANENT_STATUS, "closed": _PERMANENT_CLOSE}.get(kind, frozenset[int]())
        return int(number) not in permanent
    return code not in _PERMANENT and not code.startswith("invalid_")
