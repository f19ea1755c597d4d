"""What can go wrong at the model's side, on demand. Every field is off by default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """Ways for the emulated model to misbehave, given to a session when its socket opens.

    Before the session:
    handshake_status: answer the upgrade with this HTTP status (401, 403, 429, 500 …) and a JSON error.
    connect_stall_s: let the upgrade wait this long before anything is answered.
    refuse_code: accept the socket, then send one `error` event with this code and close (3000; 4000 for
        `beta_api_shape_disabled`).

    During the session:
    close_after_s, close_code: end the socket this long after it opened. 1001 comes with `session_expired` and the
        sentence of the 60-minute limit; 1006 drops the connection without a close frame; others close with the code.
    stall_after_s: from then on the socket stays open and nothing comes any more.
    error_storm: twenty errors that mean nothing after `session.updated`, and one after each `response.created`.
    unknown_events: events of types that do not exist, between the others.
    duplicate_events: every event but deltas arrives twice, the same `event_id` on both.
    wrong_format: `session.updated` names another output format than was asked for.

    In responses:
    fail_response: the first this many responses end `failed`, with `fail_code`.
    slow_first_audio_s: added before the first sound of every message.
    no_transcript: audio without a transcript.
    two_items: every spoken answer comes as two message items.
    events_on_cancel: a cancelled response closes its parts and items, as a finished one does, before `response.done`.
    """

    handshake_status: int | None = None
    connect_stall_s: float = 0.0
    refuse_code: str | None = None
    close_after_s: float | None = None
    close_code: int = 1001
    stall_after_s: float | None = None
    error_storm: bool = False
    unknown_events: bool = False
    duplicate_events: bool = False
    wrong_format: bool = False
    fail_response: int = 0
    fail_code: str = "inference_rate_limit_exceeded"
    slow_first_audio_s: float = 0.0
    no_transcript: bool = False
    two_items: bool = False
    events_on_cancel: bool = False
