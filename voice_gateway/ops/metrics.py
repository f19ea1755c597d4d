"""What is counted and measured, in the words of the domain; read by Prometheus at `/metrics`.

One object per gateway with a registry of its own: two gateways in one process do not add up each other's calls. Every
label takes its values from a fixed set and anything else becomes `other`, so that no caller and no far side can make
new series. A call's or a number's id is never a label; a call's id goes into an exemplar, where it costs nothing.

All times are seconds. Methods are safe from any thread; `render` takes milliseconds and belongs into one.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from voice_gateway.ops.labels import (
    API_DOORS,
    DIRECTIONS,
    DOORS,
    DROP_REASONS,
    END_OUTCOMES,
    GUARDRAIL_OUTCOMES,
    HANDOFF_OUTCOMES,
    HOLD_OUTCOMES,
    LEG_ERRORS,
    LEGS,
    MCP_DOORS,
    MODEL_ERRORS,
    OTHER,
    OUTCOMES,
    RECORDING_OUTCOMES,
    REFUSALS,
    STALLS,
    STATUSES,
    SUPERVISOR_OUTCOMES,
    TOOL_OUTCOMES,
    TRACE_OUTCOMES,
    TRANSFER_OUTCOMES,
)

_CALL_LENGTHS: Final = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_LATENCIES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10)
_FIRST_SOUNDS: Final = (0.005, 0.01, 0.02, 0.05, *_LATENCIES)
_HANDOFFS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_STOPS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1)
_HEARD_ERRORS: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.25, 2.5)
_TOOL_TIMES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.25)

Series = TypeVar("Series", Counter, Gauge, Histogram)


class _Family(Generic[Series]):
    """A metric whose label values are bound once; a later use costs one dictionary look-up."""

    __slots__ = ("_allowed", "_bound", "_metric")

    def __init__(self, metric: Series, *allowed: Iterable[str]) -> None:
        self._metric: Series = metric
        self._allowed = tuple(frozenset(values) for values in allowed)
        self._bound: dict[tuple[str, ...], Series] = {}

    def allow(self, values: Iterable[str]) -> None:
        """Let the first label have these values too."""
        self._allowed = (self._allowed[0] | frozenset(values), *self._allowed[1:])

    def __call__(self, *values: str) -> Series:
        known = self._bound.get(values)
        return self._bind(values) if known is None else known

    def _bind(self, values: tuple[str, ...]) -> Series:
        # Only permitted values become keys: a far side that sends a new code each time must not fill the dictionary.
        permitted = tuple(v if v in allowed else OTHER for v, allowed in zip(values, self._allowed, strict=True))
        if permitted not in self._bound:
            self._bound[permitted] = self._metric.labels(*permitted)
        return self._bound[permitted]


class Outbox(Protocol):
    """What is on its way to somewhere, as `store.delivery.Delivery` tells it."""

    @property
    def depth(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def failures(self) -> int: ...
    def oldest_age_s(self) -> float: ...


class Metrics:
    """All series of one gateway. Where `enabled` is False they are still counted but `/metrics` does not show them."""

    def __init__(
        self,
        *,
        version: str,
        personas: Iterable[str] = (),
        tools: Iterable[str] = (),
        models: Iterable[str] = (),
        enabled: bool = True,
    ) -> None:
        """personas, tools, models: the names there are; any other name is counted as `other`."""
        self.enabled = enabled
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        Info("voice_build", "What is running.", registry=registry).info(
            {"version": version, "python": platform.python_version()}
        )
        self._calls = _CallSeries(registry, tuple(personas))
        self._legs = _LegSeries(registry)
        self._model = _ModelSeries(registry, tuple(tools), tuple(models))
        self._house = _HouseSeries(registry)

    # --- calls ---

    def call_started(self, direction: str) -> None:
        """A call was admitted; `call_ended` must follow."""
        self._calls.active(direction).inc()

    def call_ended(self, direction: str, outcome: str, duration_s: float) -> None:
        self._calls.active(direction).dec()
        self._calls.ended(direction, outcome).inc()
        self._calls.duration.observe(duration_s)

    def answered(self, persona: str, latency_s: float, call_sid: str = "") -> None:
        """From the caller's last sound to the first audio of the answer handed to the caller leg."""
        exemplar = {"call_sid": call_sid} if call_sid else None
        self._calls.latency(persona).observe(latency_s, exemplar)

    def first_heard(self, waited_s: float) -> None:
        """From the media stream's start to our first sound on its way to the caller."""
        self._calls.first_sound.observe(waited_s)

    def barged_in(self) -> None:
        """A caller ended our voice."""
        self._calls.barge_ins.inc()

    def fell_silent(self, stop_s: float) -> None:
        """stop_s: from the event that silenced our voice to the clear on its way to the carrier."""
        self._calls.barge_in_stop.observe(stop_s)

    def held(self, delay_s: float) -> None:
        """Our voice was held. delay_s: since the caller's first sound, as it reached us."""
        self._calls.hold_delay.observe(delay_s)

    def hold_ended(self, outcome: str, length_s: float) -> None:
        """outcome: `confirmed` by the model's word, or `in_vain`. length_s: how long that took."""
        self._calls.holds(outcome).observe(length_s)

    def handed_over(self, outcome: str, waited_s: float) -> None:
        """outcome: by an `update` of the session, by another `session`, or `failed`. waited_s: since it was asked."""
        self._calls.handoffs(outcome).observe(waited_s)

    def heard_estimated(self, error_s: float) -> None:
        """How far the playout's own estimate was from the carrier's receipt, either way."""
        self._calls.heard_error.observe(abs(error_s))

    def padded(self, seconds: float) -> None:
        """Silence put into a gap of the caller's sound."""
        self._calls.padded.inc(seconds)

    # --- legs and doors ---

    def leg_failed(self, leg: str, kind: str, count: int = 1) -> None:
        self._legs.errors(leg, kind).inc(count)

    def media_dropped(self, reason: str, count: int = 1) -> None:
        """Messages of a media stream that were not used."""
        self._legs.dropped(reason).inc(count)

    def stalled(self, kind: str) -> None:
        """Something stood still and was noticed: the caller's sound or his turn, a response, a send, a call's end."""
        self._legs.stalls(kind).inc()

    def end_unconfirmed(self, outcome: str) -> None:
        """The carrier did not report the end of a call that we ended. outcome: of ending it by REST."""
        self._legs.ends(outcome).inc()

    def put_through(self, outcome: str) -> None:
        """A caller was put through to a human. outcome: the carrier's word for how that went."""
        self._legs.transfers(outcome).inc()

    def refused(self, door: str, reason: str) -> None:
        self._legs.refusals(door, reason).inc()

    def asked(self, door: str, status: int) -> None:
        """A request at a door of the API was answered."""
        self._legs.requests(door, str(status)).inc()

    # --- the model and its tools ---

    def model_events_unknown(self, count: int = 1) -> None:
        """Server events of a type that is not known here; they were survived."""
        self._model.unknown.inc(count)

    def model_erred(self, code: str) -> None:
        self._model.errors(code).inc()

    def tool_finished(self, tool: str, outcome: str, duration_s: float) -> None:
        self._model.tool(tool, outcome).observe(duration_s)

    def supervised(self, outcome: str, duration_s: float) -> None:
        """A question to the supervisor was over: answered, replaced by a newer one, or the voice went on without."""
        self._model.supervised(outcome).observe(duration_s)

    def foreign_called(self, server: str, outcome: str) -> None:
        """A call used a tool of a foreign MCP server. outcome: ok, refused by it, failed or timeout."""
        self._model.foreign(server, outcome).inc()

    def watch_servers(self, servers: Iterable[str], is_up: Callable[[str], float]) -> None:
        """Which foreign MCP servers there are; `is_up` is asked when the metrics are read."""
        self._model.foreign.allow(servers)
        for server in servers:
            self._model.foreign_up.labels(server).set_function(partial(is_up, server))

    def mcp_called(self, door: str, outcome: str) -> None:
        """Another program had a tool do its work. outcome: ok or failed."""
        self._model.mcp(door, outcome).inc()

    def checked(self, outcome: str, duration_s: float) -> None:
        """A turn was held against its persona's guardrail: it passed, tripped it, or there was no good answer."""
        self._model.checked(outcome).observe(duration_s)

    def tokens_used(self, model: str, modality: str, *, fresh: int = 0, cached: int = 0, output: int = 0) -> None:
        """One response's tokens of one modality. fresh: input that was not cached."""
        if fresh:
            self._model.tokens(model, "input", modality, "false").inc(fresh)
        if cached:
            self._model.tokens(model, "input", modality, "true").inc(cached)
        if output:
            self._model.tokens(model, "output", modality, "false").inc(output)

    def cost_arisen(self, usd: float) -> None:
        """What calls cost, model and line together, as it arises."""
        self._model.cost.inc(usd)

    # --- the house ---

    def faulted(self) -> None:
        """A fault of ours ended a call."""
        self._house.faults.inc()

    def traced(self, outcome: str) -> None:
        """A call's trace was kept whole, was cut short, failed, or was removed at the caller's wish."""
        self._house.traces(outcome).inc()

    def recorded(self, outcome: str) -> None:
        """A recording became a whole file, failed, or was discarded: its caller wanted none, or it held nothing."""
        self._house.recordings(outcome).inc()

    def loop_lagged(self, lag_s: float) -> None:
        self._house.lag.observe(lag_s)

    def watch_store(
        self,
        depth: Callable[[], float],
        oldest_age_s: Callable[[], float],
        cleared: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Ask these at each scrape: records waiting to be written, the age of the oldest, events given up for room.

        Called from another thread.
        """
        self._house.store_depth.set_function(depth)
        self._house.store_age.set_function(oldest_age_s)
        self._house.store_cleared.set_function(cleared)

    def watch_outbox(self, outbox: Outbox) -> None:
        """Ask it at each scrape, from another thread. Without this call there is no outbox, and its series say 0."""
        self._house.outbox.watch(outbox)

    def watch_webhook(self, webhook: Outbox) -> None:
        """As `watch_outbox`, for the webhook."""
        self._house.webhook.watch(webhook)

    def watch_uploads(self, uploads: Outbox) -> None:
        """As `watch_outbox`, for recordings on their way to a bucket."""
        self._house.uploads.watch(uploads)

    def watch_admission(self, available: Callable[[], bool], draining: Callable[[], bool]) -> None:
        """Ask these two at each scrape: would a new call be taken, and is this process on its way out."""
        self._house.available.set_function(available)
        self._house.draining.set_function(draining)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text of all series and its content type for an `Accept` header. Takes milliseconds."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _CallSeries:
    def __init__(self, registry: CollectorRegistry, personas: tuple[str, ...]) -> None:
        active = Gauge("voice_calls_active", "Calls that are live now.", ["direction"], registry=registry)
        self.active = _Family(active, DIRECTIONS)
        ended = Counter("voice_calls", "Calls that ended.", ["direction", "outcome"], registry=registry)
        self.ended = _Family(ended, DIRECTIONS, OUTCOMES)
        for direction in DIRECTIONS:
            self.active(direction)
            for outcome in OUTCOMES:
                self.ended(direction, outcome)
        self.duration = Histogram(
            "voice_call_duration_seconds", "From webhook to end.", buckets=_CALL_LENGTHS, registry=registry
        )
        latency = Histogram(
            "voice_response_latency_seconds",
            "From the caller's last sound to the first audio of the answer.",
            ["persona"],
            buckets=_LATENCIES,
            registry=registry,
        )
        self.latency = _Family(latency, personas)
        self.first_sound = Histogram(
            "voice_first_sound_seconds",
            "From the media stream's start to our first sound on its way to the caller.",
            buckets=_FIRST_SOUNDS,
            registry=registry,
        )
        self.barge_ins = Counter("voice_barge_ins", "Times a caller spoke while we did.", registry=registry)
        self.barge_in_stop = Histogram(
            "voice_barge_in_stop_seconds", "From speech heard to our voice cleared.", buckets=_STOPS, registry=registry
        )
        self.hold_delay = Histogram(
            "voice_hold_delay_seconds",
            "From the caller's first sound to our voice held.",
            buckets=_STOPS,
            registry=registry,
        )
        holds = Histogram(
            "voice_hold_seconds",
            "How long our voice was held until the model's word came, or did not.",
            ["outcome"],
            buckets=_STOPS,
            registry=registry,
        )
        self.holds = _Family(holds, HOLD_OUTCOMES)
        for outcome in HOLD_OUTCOMES:
            self.holds(outcome)
        handoffs = Histogram(
            "voice_handoff_seconds",
            "From a handoff asked for to another persona leading the call, or to its failure.",
            ["outcome"],
            buckets=_HANDOFFS,
            registry=registry,
        )
        self.handoffs = _Family(handoffs, HANDOFF_OUTCOMES)
        for outcome in HANDOFF_OUTCOMES:
            self.handoffs(outcome)
        self.heard_error = Histogram(
            "voice_heard_error_seconds",
            "Difference between what was believed heard and the carrier's receipt.",
            buckets=_HEARD_ERRORS,
            registry=registry,
        )
        self.padded = Counter(
            "voice_inbound_padded_seconds", "Silence put into gaps of callers' sound.", registry=registry
        )


class _LegSeries:
    def __init__(self, registry: CollectorRegistry) -> None:
        errors = Counter("voice_websocket_errors", "Sockets that failed.", ["leg", "kind"], registry=registry)
        self.errors = _Family(errors, LEGS, LEG_ERRORS)
        dropped = Counter(
            "voice_media_messages_dropped", "Media stream messages not used.", ["reason"], registry=registry
        )
        self.dropped = _Family(dropped, DROP_REASONS)
        refusals = Counter("voice_refusals", "Requests turned away.", ["door", "reason"], registry=registry)
        self.refusals = _Family(refusals, DOORS, REFUSALS)
        requests = Counter(
            "voice_api_requests", "Requests at a door of the API.", ["door", "status"], registry=registry
        )
        self.requests = _Family(requests, API_DOORS, STATUSES)
        stalls = Counter("voice_stalls", "Times that something stood still.", ["kind"], registry=registry)
        self.stalls = _Family(stalls, STALLS)
        ends = Counter(
            "voice_unconfirmed_ends", "Ended calls whose end nobody reported, by what became of them.", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self.ends = _Family(ends, END_OUTCOMES)
        transfers = Counter("voice_transfers", "Callers put through, by how that went.", ["outcome"], registry=registry)
        self.transfers = _Family(transfers, TRANSFER_OUTCOMES)


class _ModelSeries:
    def __init__(self, registry: CollectorRegistry, tools: tuple[str, ...], models: tuple[str, ...]) -> None:
        self.unknown = Counter(
            "voice_model_events_unknown", "Server events of a type not known here.", registry=registry
        )
        errors = Counter("voice_model_errors", "Errors the model told.", ["code"], registry=registry)
        self.errors = _Family(errors, MODEL_ERRORS)
        tool = Histogram(
            "voice_tool_duration_seconds",
            "From a tool's call to its answer.",
            ["tool", "outcome"],
            buckets=_TOOL_TIMES,
            registry=registry,
        )
        self.tool = _Family(tool, tools, TOOL_OUTCOMES)
        told = "From a question to the supervisor to its end."
        self.supervised = _by_outcome("voice_supervisor_seconds", told, SUPERVISOR_OUTCOMES, registry)
        told = "From a turn's text to what its guardrail makes of it."
        self.checked = _by_outcome("voice_guardrail_seconds", told, GUARDRAIL_OUTCOMES, registry)
        mcp = Counter("voice_mcp_calls", "Tools called by other programs.", ["door", "outcome"], registry=registry)
        self.mcp = _Family(mcp, MCP_DOORS, TOOL_OUTCOMES)
        foreign = Counter(
            "voice_mcp_server_calls", "Tools of foreign servers used.", ["server", "outcome"], registry=registry
        )
        self.foreign = _Family(foreign, (), TOOL_OUTCOMES)
        self.foreign_up = Gauge(
            "voice_mcp_server_up", "1 while a foreign server answers.", ["server"], registry=registry
        )
        self.cost = Counter("voice_cost_usd", "What calls cost, in US dollars.", registry=registry)
        tokens = Counter(
            "voice_tokens", "Tokens used.", ["model", "direction", "modality", "cached"], registry=registry
        )
        self.tokens = _Family(tokens, models, ("input", "output"), ("text", "audio"), ("true", "false"))


class _QueueSeries:
    """What waits for one destination, what it refused, and how often it could not be had."""

    def __init__(self, name: str, depth: str, registry: CollectorRegistry) -> None:
        self._depth = Gauge(f"voice_{name}_depth", depth, registry=registry)
        self._age = Gauge(f"voice_{name}_oldest_age_seconds", "Age of the oldest of them.", registry=registry)
        self._refused = Gauge(f"voice_{name}_refused", "Those set aside: they were refused.", registry=registry)
        self._failures = Gauge(f"voice_{name}_failures", "Attempts that failed since the start.", registry=registry)

    def watch(self, queue: Outbox) -> None:
        self._depth.set_function(lambda: queue.depth)
        self._age.set_function(queue.oldest_age_s)
        self._refused.set_function(lambda: queue.refused)
        self._failures.set_function(lambda: queue.failures)


def _by_outcome(name: str, told: str, outcomes: tuple[str, ...], registry: CollectorRegistry) -> _Family[Histogram]:
    family = _Family(Histogram(name, told, ["outcome"], buckets=_TOOL_TIMES, registry=registry), outcomes)
    for outcome in outcomes:
        family(outcome)
    return family


class _HouseSeries:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.lag = Histogram(
            "voice_event_loop_lag_seconds", "How late the event loop woke.", buckets=_LAGS, registry=registry
        )
        self.faults = Counter("voice_internal_faults", "Calls ended by a fault of the gateway.", registry=registry)
        traces = Counter("voice_traces", "Calls traced, by what became of it.", ["outcome"], registry=registry)
        self.traces = _Family(traces, TRACE_OUTCOMES)
        recordings = Counter("voice_recordings", "Recordings that ended.", ["outcome"], registry=registry)
        self.recordings = _Family(recordings, RECORDING_OUTCOMES)
        for outcome in RECORDING_OUTCOMES:
            self.recordings(outcome)
        self.store_depth = Gauge("voice_store_queue_depth", "Records waiting to be written.", registry=registry)
        self.store_age = Gauge("voice_store_oldest_age_seconds", "Age of the oldest waiting record.", registry=registry)
        self.store_cleared = Gauge(
            "voice_store_events_cleared", "Untold events given up to keep the file in its size.", registry=registry
        )
        self.outbox = _QueueSeries("outbox", "Facts that are not in Supabase yet.", registry)
        self.webhook = _QueueSeries("webhook", "Facts that the webhook has not taken yet.", registry)
        self.uploads = _QueueSeries("uploads", "Recordings that are not in the bucket yet.", registry)
        self.available = Gauge("voice_available", "1 while a new call would be taken.", registry=registry)
        self.draining = Gauge("voice_draining", "1 while live calls are left to end.", registry=registry)


class LoopLag:
    """Measures how late the event loop wakes a task that asked to be woken. One task serves the whole process."""

    def __init__(
        self,
        observe: Callable[[float], None],
        *,
        interval_s: float = 0.1,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._observe = observe
        self._interval_s = interval_s
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Sample until cancelled."""
        clock = self._clock or asyncio.get_running_loop().time
        while True:
            asleep = clock()
            await self._sleep(self._interval_s)
            self._observe(max(0.0, clock() - asleep - self._interval_s))
