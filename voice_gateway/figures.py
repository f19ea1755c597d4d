"""From what happens in calls to what is counted: every figure and every entry finds its metric here."""

from __future__ import annotations

from collections.abc import Callable

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.call.usage import Usage
from voice_gateway.ops.metrics import Metrics


class Figures:
    def __init__(self, metrics: Metrics, model_of: Callable[[CallFacts], str]) -> None:
        """model_of: the name of a call's model, under which its tokens are counted."""
        self._metrics = metrics
        self._model_of = model_of

    def observe(self, facts: CallFacts, figure: str, value: float) -> None:  # noqa: C901 - a table, one line a figure
        """A figure that no entry of the record holds, in seconds or as a number."""
        match figure:
            case "heard_error":
                self._metrics.heard_estimated(value)
            case "response_latency":
                self._metrics.answered(facts.persona, value)
            case "first_sound":
                self._metrics.first_heard(value)
            case "barge_in_stop":
                self._metrics.fell_silent(value)
            case "hold_delay":
                self._metrics.held(value)
            case "hold_confirmed" | "hold_in_vain":
                self._metrics.hold_ended(figure.removeprefix("hold_"), value)
            case "handoff_update" | "handoff_session" | "handoff_failed":
                self._metrics.handed_over(figure.removeprefix("handoff_"), value)
            case "unknown_model_events":
                self._metrics.model_events_unknown(int(value))
            case "malformed_model_events" if value:
                self._metrics.leg_failed("model", "protocol", int(value))
            case "guardrail_passed" | "guardrail_tripped" | "guardrail_failed":
                self._metrics.checked(figure.removeprefix("guardrail_"), value)
            case "internal_fault":
                self._metrics.faulted()
            case "media_stalled" | "speech_stalled" | "response_stalled" | "send_blocked" | "end_stuck":
                self._metrics.stalled(figure)

    def count(self, facts: CallFacts, entry: entries.Entry) -> None:  # noqa: C901 - a table, one line an entry
        """What an entry of the record adds: `journal.Listener`."""
        metrics = self._metrics
        match entry:
            case entries.CallStarted():
                metrics.call_started(direction_of(facts))
            case entries.CallResumed():
                metrics.call_started(direction_of(facts))
            case entries.TransferEnded():
                metrics.put_through(entry.outcome)
            case entries.BargedIn():
                metrics.barged_in()
            case entries.CallEnded():
                metrics.call_ended(direction_of(facts), entry.status, entry.duration_ms / 1000)
                metrics.padded(entry.padded_ms / 1000)
                if entry.reason in {"lost", "stalled"}:
                    metrics.leg_failed("caller", entry.reason)
                elif entry.reason in {"model_lost", "model_stalled"}:
                    metrics.leg_failed("model", entry.reason.removeprefix("model_"))
            case entries.FaultSeen(where="model"):
                metrics.model_erred(entry.code)
            case entries.ToolAnswered():
                metrics.tool_finished(entry.name, "ok" if entry.ok else "failed", entry.duration_ms / 1000)
            case entries.ResponseMetered(purpose="supervisor") if entry.usage is not None:
                self._meter_tokens(entry.model, entry.usage)
            case entries.ResponseMetered() | entries.CallSummarised() if entry.usage is not None:
                self._meter_tokens(self._model_of(facts), entry.usage)
            case _:
                self._count_asides(entry)

    def _count_asides(self, entry: entries.Entry) -> None:
        """What happened beside the conversation."""
        match entry:
            case entries.SupervisorAnswered():
                self._metrics.supervised(entry.outcome, entry.duration_ms / 1000)

    def _meter_tokens(self, model: str, usage: Usage) -> None:
        fresh = max(0, usage.input_text - usage.cached_text)
        self._metrics.tokens_used(model, "text", fresh=fresh, cached=usage.cached_text, output=usage.output_text)
        fresh = max(0, usage.input_audio - usage.cached_audio)
        self._metrics.tokens_used(model, "audio", fresh=fresh, cached=usage.cached_audio, output=usage.output_audio)


def direction_of(facts: CallFacts) -> str:
    """A call's direction as it is counted: the carrier knows several kinds of outbound."""
    return "outbound" if facts.direction.startswith("outbound") else facts.direction
