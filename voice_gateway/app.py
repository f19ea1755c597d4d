"""The composition root: the one place that sees everything. Settings in, a gateway that serves calls out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from voice_gateway import __version__, config
from voice_gateway.agent.cast import Cast, Elsewhere, LivingCast, Role, Sources, read_cast
from voice_gateway.agent.own import whole_toolbox
from voice_gateway.agent.routes import Routes
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import Toolbox
from voice_gateway.budget import Budget, Limits
from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts, GoodbyeAsked, InnerEvent
from voice_gateway.call.goodbye import TRANSFER
from voice_gateway.caller.consent import WORDINGS
from voice_gateway.caller.farewells import Farewells
from voice_gateway.caller.rest import TwilioRest
from voice_gateway.caller.signature import SignatureCheck
from voice_gateway.caller.tokens import StreamTokens
from voice_gateway.config import Settings
from voice_gateway.desk import Desk, Terms
from voice_gateway.errors import GatewayError, there_are
from voice_gateway.figures import Figures
from voice_gateway.herald import Herald
from voice_gateway.journal import Journal, Listener
from voice_gateway.keeper import Keeper, Wishes
from voice_gateway.makings import Makings, models_of, tables_of, today
from voice_gateway.mcp.offer import Offer
from voice_gateway.ops import logs
from voice_gateway.ops.metrics import LoopLag, Metrics
from voice_gateway.ops.redaction import Redactor
from voice_gateway.session import Service
from voice_gateway.store.outbox import collecting
from voice_gateway.store.records import new_id
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.uploads import queueing
from voice_gateway.summary import Summaries
from voice_gateway.switchboard import Switchboard
from voice_gateway.text_session import Means
from voice_gateway.trace.folder import TraceFolder
from voice_gateway.web import health
from voice_gateway.web.ai import ApiDoors, House
from voice_gateway.web.calls import CallDoors
from voice_gateway.web.clients import Clients
from voice_gateway.web.doors import Doorkeeper
from voice_gateway.web.problem import LOST
from voice_gateway.web.twilio import Closed, Doorbell, Sentences, TwilioDoors
from voice_gateway.workshop import Workshop

if TYPE_CHECKING:
    from voice_gateway.mcp.doors import Doors
    from voice_gateway.mcp.foreign import ForeignServers
    from voice_gateway.store.shipper import Shipper

STREAM_PATIENCE_S = 30.0
SPOKEN_CHARACTERS_PER_S = 10.0
"""Slow speech: the carrier says the first sentence before it opens the stream."""

LAST_SHIPPING_S = 5.0
"""What is not in Supabase by then stays in the file, and is shipped by the next process."""


class Gateway:
    """Everything that serves calls, built once. `asgi` is the application; its lifespan starts and stops the rest."""

    def __init__(
        self,
        settings: Settings,
        cast: Cast,
        listeners: Sequence[Listener] = (),
        toolbox: Toolbox | None = None,
        foreign: ForeignServers | None = None,
    ) -> None:
        """listeners: told of every entry besides the metrics; must be quick and must not raise.

        toolbox: every tool there is, the house's when None; a persona has those it names. foreign: the MCP servers
        whose tools the cast may name.
        """
        self.foreign = foreign
        self.toolbox = toolbox or house_toolbox()
        self._settings = settings
        self._cast = cast
        self._log = logs.get("app")
        self._secret = settings.stream_token_secret.get_secret_value().encode() or secrets.token_bytes(32)
        self.metrics = Metrics(
            version=__version__,
            personas=cast.keys,
            tools=sorted({name for role in cast.roles for name in role.tool_names}),
            models=[*models_of(settings, cast), *filter(None, [settings.supervisor_model])],
            enabled=settings.metrics_enabled,
        )
        self._figures = Figures(self.metrics, lambda facts: self._makings.model_of(self._makings.role(facts).persona))
        at_open = collecting(settings.webhook_events) + queueing(settings.recordings_bucket)
        self.store = SqliteStore(settings.store_path, max_bytes=settings.store_max_mb << 20, at_open=at_open)
        self._keeper = Keeper(self.store, _wishes(settings), self.metrics)
        self.shipper = self._new_shipper()
        self.budget = Budget(Limits(settings.max_caller_usd_per_day, settings.max_usd_per_day), today)
        self.summaries = Summaries(
            tariff=lambda facts: self._makings.tariff_of(facts),  # noqa: PLW0108 - they are made later
            intents=settings.summary_intents,
            enabled=settings.summary_enabled,
        )
        self._herald = Herald(self._tell, new_id)
        inner = (
            self._figures.count,
            self._account,
            self._note,
            self._guard_trace,
            self.summaries.note,
            self._note_transfer,
            self._herald.note,
        )
        redactor = Redactor(settings.redact_transcripts.split(",")) if settings.redact_transcripts else None
        self.journal = Journal(
            self.store,
            wall_clock=lambda: datetime.now(UTC),
            new_id=new_id,
            instance_id=f"{socket.gethostname()}:{os.getpid()}",
            listeners=[*inner, *listeners],
            redactor=redactor,
            earlier=self.store.earlier,
        )
        self._traces = None if settings.trace_dir is None else self._trace_folder(settings.trace_dir)
        self._rest = _rest(settings)
        self._farewells = Farewells(
            None if self._rest is None else self._rest.hang_up,
            confirm_s=settings.end_confirm_seconds,
            count=self.metrics.end_unconfirmed,
        )
        self._makings = Makings(settings, cast, metrics=self.metrics, secret=self._secret, traces=self._traces)
        self.unpriced, self.doubts = self._makings.unpriced, self._makings.doubts
        self._workshop = Workshop(
            tables_of(settings),
            role=self._makings.role,
            tell=self._tell,
            supervisor=self._makings.supervisor,
            conceal=str if redactor is None else redactor.text,
            stranger=self._makings.safety_identifier,
            now_for=self._makings.now_for,
        )
        self.mcp = self._new_mcp()
        if foreign is not None:
            foreign.count = self.metrics.foreign_called
            self.metrics.watch_servers(foreign.names, foreign.is_up)
        self.switchboard = Switchboard(
            journal=self.journal,
            prepare_model=self._makings.prepare_model,
            new_bridge=self._makings.new_bridge,
            service=Service(
                self._workshop,
                self._figures.observe,
                time.monotonic,
                keep_greeting=self._makings.keep_greeting,
                failed_sentence=settings.failed_sentence,
                summaries=self.summaries,
                personas=lambda: cast.keys,
                casting=self._makings,
            ),
            max_calls=settings.max_calls,
            exceeded=self.budget.exceeded,
            farewells=self._farewells,
            stream_patience_s=STREAM_PATIENCE_S
            + len(settings.answer_sentence) / SPOKEN_CHARACTERS_PER_S
            + (0.0 if self._makings.consents is None else self._makings.consents.longest_s),
        )
        self.desk = self._new_desk()
        self.metrics.watch_admission(self._is_available, lambda: self.switchboard.draining)
        self.metrics.watch_store(
            lambda: self.store.depth, lambda: self.store.oldest_age_s(time.monotonic()), lambda: self.store.cleared
        )
        self.asgi = Starlette(routes=self._routes(), lifespan=self._live, exception_handlers={HTTPException: LOST})

    @property
    def roles(self) -> tuple[Role, ...]:
        """Who can answer, each with its tools."""
        return self._cast.roles

    @property
    def routes(self) -> Routes:
        """Who answers which call."""
        return self._cast.routes

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be seen anywhere: for the log's scrubber, and for the tests that look for it."""
        return (*self._settings.secrets(), *(self.foreign.secrets if self.foreign is not None else ()))

    def _new_shipper(self) -> Shipper | None:
        """What brings the record to Supabase, where a project is named; it costs memory that nobody else should pay."""
        if not self._settings.supabase_url:
            return None
        from voice_gateway.store.supabase import shipper_to  # noqa: PLC0415 - see above

        shipper = shipper_to(self._settings.supabase_url, self._settings.supabase_key, self.store)
        self.metrics.watch_outbox(shipper.delivery)
        return shipper

    def _new_mcp(self) -> Doors | None:
        """The doors for other programs, where there is a token; they cost memory that nobody else should pay."""
        settings = self._settings
        if not settings.mcp_served:
            return None
        from voice_gateway.mcp.doors import Doors  # noqa: PLC0415 - see above
        from voice_gateway.mcp.guard import Guard  # noqa: PLC0415

        guard = Guard(settings.mcp_token.get_secret_value(), settings.mcp_hosts, self.metrics.refused)
        offer = Offer(
            self.toolbox, self._workshop.run_outside, effects=settings.mcp_effects, count=self.metrics.mcp_called
        )
        return Doors(offer, guard, version=__version__, ws_host=settings.mcp_ws_host, ws_port=settings.mcp_ws_port)

    def _new_desk(self) -> Desk:
        """Where conversations in writing are held."""
        settings, makings = self._settings, self._makings
        means = Means(
            journal=self.journal,
            tools=self._workshop,
            settings=makings.text_settings,
            open_model=makings.open_model,
            tariff=lambda model: makings.prices.tariff(model, today()),
            clock=time.monotonic,
            reply_s=settings.ai_reply_seconds,
            limit_usd=settings.max_call_usd,
        )
        terms = Terms(settings.ai_max_sessions, settings.ai_session_idle_seconds)
        return Desk(means, terms, role=self._cast.role, exceeded=self.budget.exceeded, new_id=new_id)

    def _trace_folder(self, folder: Path) -> TraceFolder:
        return TraceFolder(
            folder,
            max_bytes=self._settings.trace_max_mb * 1_000_000,
            secrets=self.secrets,
            version=__version__,
            wall_clock=lambda: datetime.now(UTC),
            count=self.metrics.traced,
        )

    def _is_available(self) -> bool:
        """Would a call that comes now be served, and its record be kept?"""
        stuck = self.store.stuck(time.monotonic())
        return self.switchboard.is_available and not stuck and not self._settings.missing()

    def _tell(self, call_sid: str, event: InnerEvent) -> bool:
        return self.switchboard.tell(call_sid, event)

    # --- what is counted ----------------------------------------------------------------------------------------

    def _account(self, facts: CallFacts, entry: entries.Entry) -> None:
        """Book what a call costs; when that reaches a limit of the day, this call is asked to end."""
        spent_usd = self.budget.note(facts, entry)
        if spent_usd:
            self.metrics.cost_arisen(spent_usd)
        limit = self.budget.exceeded(facts.from_number) if spent_usd else None
        if limit is not None:
            self.switchboard.say_goodbye(facts.call_sid, GoodbyeAsked(limit, self._settings.budget_sentence))

    def _note(self, facts: CallFacts, entry: entries.Entry) -> None:
        """What a call needs while it goes on; once it is over, that is taken back."""
        self._workshop.note(facts, entry)
        if not isinstance(entry, entries.CallEnded):
            return
        self._workshop.take_back(facts, returns=entry.reason == TRANSFER)
        self._makings.take_back(facts)

    def _note_transfer(self, facts: CallFacts, entry: entries.Entry) -> None:
        """What may be told of a caller who is put through."""
        self.switchboard.transfers.note(facts, entry)

    def _guard_trace(self, facts: CallFacts, entry: entries.Entry) -> None:
        """What may not be recorded may not be traced."""
        if self._traces is None:
            return
        if isinstance(entry, entries.RecordingPaused):
            self._traces.stop(facts.call_sid, "what is said while a recording is paused is not kept")
        elif isinstance(entry, entries.ConsentRefused):
            self._traces.discard(facts.call_sid)

    # --- doors --------------------------------------------------------------------------------------------------

    def _routes(self) -> list[BaseRoute]:
        settings = self._settings
        enabled = settings.takes_calls
        signed = settings.twilio_webhook_auth and bool(settings.twilio_auth_tokens or settings.twilio_shared_key)
        shared_key = settings.twilio_shared_key.get_secret_value()
        doorbell = Doorbell(
            base_url=settings.public_base_url,
            ws_url=settings.stream_url,
            sentences=Sentences(
                answer=settings.answer_sentence,
                disabled=settings.disabled_sentence,
                busy=settings.busy_sentence,
                budget=settings.budget_sentence,
                failed=settings.failed_sentence,
            ),
            signatures=SignatureCheck(settings.twilio_auth_tokens, [shared_key] if shared_key else [])
            if signed
            else None,
            tokens=StreamTokens(self._secret),
            wall_clock=time.time,
            count_refusal=self.metrics.refused,
            count_dropped=self.metrics.media_dropped,
            start_timeout_s=settings.start_timeout_seconds,
            enabled=enabled and not settings.missing(),
            choose_persona=self._cast.choose,
            closed=self._closed,
            put_through=self._makings.put_through,
            transfers=self.switchboard.transfers,
            recording_terms=None if self._makings.consents is None else self._makings.recording_terms,
        )
        checks = [
            health.configured(settings.missing()),
            health.store_moving(lambda: self.store.oldest_age_s(time.monotonic())),
            health.not_draining(lambda: self.switchboard.draining),
            health.not_full(lambda: self.switchboard.live, settings.max_calls),
        ]
        features = {"voiceAgent": enabled, "mcp": self.mcp is not None}
        details = {**({} if self.shipper is None else {"outbox": self.shipper.delivery.tell}), **self._keeper.details}
        return [
            *health.health_routes(
                version=__version__,
                features=features,
                checks=checks,
                metrics=self.metrics,
                details=details,
                parts={} if self.foreign is None else {"mcpServers": self.foreign.tell},
            ),
            *TwilioDoors(self.switchboard, doorbell).routes(),
            *CallDoors(self.switchboard, settings.api_token.get_secret_value(), self.metrics.refused).routes(),
            *([] if self.mcp is None else self.mcp.routes()),
            *self._api_doors().routes(),
        ]

    def _api_doors(self) -> ApiDoors:
        settings = self._settings
        house = House(
            self.switchboard,
            self._herald,
            self.desk,
            self._cast,
            default=settings.default_persona,
            realtime=settings.ai_realtime_enabled,
            version=__version__,
            clock=time.monotonic,
        )
        clients = Clients(settings.ai_clients, settings.ai_rate_limit)
        return ApiDoors(house, Doorkeeper(clients, self.metrics.asked, self.metrics.refused))

    def _closed(self, persona: str) -> Closed | None:
        hours = self._cast.closed(persona)
        if hours is None:
            return None
        language = self._cast.role(persona).persona.language
        return Closed(hours.say, hours.transfer, WORDINGS[language][0] if language in WORDINGS else "")

    # --- life ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _live(self, _app: Starlette) -> AsyncIterator[None]:
        await self.store.start()
        midnight = datetime.combine(today(), time_of_day.min).astimezone()
        self.budget.restore(await self.store.spent_since(midnight))
        await self._workshop.start()
        await self._makings.start()
        if self.shipper is not None:
            self.shipper.start()
        if self.foreign is not None and self._settings.mcp_enabled:
            self.foreign.start()
        self._keeper.start()
        beside = [
            asyncio.create_task(LoopLag(self.metrics.loop_lagged).run()),
            asyncio.create_task(self._cast.follow()),
        ]
        # What was imported lives as long as the process: a full collection would stop every call to look at it again.
        gc.collect()
        gc.freeze()
        try:
            async with contextlib.nullcontext() if self.mcp is None else self.mcp.open():
                yield
        finally:
            await self.desk.close()
            await self.switchboard.drained(0.0)
            if self.foreign is not None:
                await self.foreign.close()
            await self._farewells.close()
            if self._rest is not None:
                await self._rest.close()
            for task in beside:
                task.cancel()
            if self._traces is not None:
                await asyncio.to_thread(self._traces.close)
            await self._workshop.close()
            await self._makings.close()
            shipping = [] if self.shipper is None else [self.shipper.close(LAST_SHIPPING_S)]
            await asyncio.gather(self._keeper.close(LAST_SHIPPING_S), *shipping)
            lost = await self.store.close()
            if lost:
                self._log.error("store.records_lost", records=lost)


def build(
    settings: Settings, listeners: Sequence[Listener] = (), variables: Mapping[str, str] | None = None
) -> Gateway:
    """Make a gateway from its settings. Raises `GatewayError` when a persona or a tool that it needs is not there.

    variables: those that a file of the operator's may refer to; the environment's and those of `.env` when None.
    """
    toolbox = whole_toolbox(settings.tool_modules)
    foreign = foreign_of(settings, toolbox, variables)
    sources = sources_of(settings, toolbox, foreign)
    return Gateway(settings, LivingCast(sources), listeners, toolbox, foreign)


def sources_of(settings: Settings, toolbox: Toolbox, foreign: Elsewhere | None) -> Sources:
    """Where the cast is read from."""
    return Sources(
        toolbox,
        settings.default_persona,
        settings.personas_dir,
        settings.routes_file,
        foreign,
        supervised=bool(settings.supervisor_model),
    )


def foreign_of(settings: Settings, toolbox: Toolbox, variables: Mapping[str, str] | None) -> ForeignServers | None:
    """The MCP servers whose tools personas may name, not reached yet, where there is a file of them."""
    if settings.mcp_servers_file is None:
        return None
    from voice_gateway.mcp.foreign import ForeignServers  # noqa: PLC0415 - it costs memory that nobody else should pay
    from voice_gateway.mcp.servers import load_servers  # noqa: PLC0415

    known = config.variables() if variables is None else variables
    return ForeignServers(load_servers(settings.mcp_servers_file, known), toolbox.names)


def _wishes(settings: Settings) -> Wishes:
    return Wishes(
        webhook_url=settings.call_webhook_url.get_secret_value(),
        webhook_secret=settings.call_webhook_secret.get_secret_value(),
        keep_days=settings.retention_days,
        trace_dir=settings.trace_dir,
        recordings_dir=settings.recordings_dir,
        keep_recordings_days=settings.recording_retention_days,
        project=(settings.supabase_url, settings.supabase_key) if settings.supabase_url else None,
        bucket=settings.recordings_bucket,
        keep_local=settings.recordings_keep_local,
    )


def _rest(settings: Settings) -> TwilioRest | None:
    """The carrier's REST API, where there are credentials for it."""
    tokens = settings.twilio_auth_tokens
    if not settings.twilio_account_sid or not tokens:
        return None
    return TwilioRest(settings.twilio_account_sid, tokens[0], settings.twilio_api_url or None)


@contextlib.asynccontextmanager
async def tools_alone(settings: Settings, persona: str = "") -> AsyncIterator[Offer]:
    """What other programs are offered, without a gateway around it. persona: whose tools alone, or empty for all.

    Raises `GatewayError` for a persona that is not there.
    """
    toolbox = whole_toolbox(settings.tool_modules)
    if persona:
        cast = read_cast(sources_of(settings, toolbox, foreign_of(settings, toolbox, None)))
        if persona not in cast.keys:
            raise GatewayError(f"there is no persona {persona}; {there_are(sorted(cast.keys), persona)}")
        toolbox = cast.role(persona).toolbox
    workshop = Workshop(tables_of(settings), role=_nobody, tell=lambda *_: False)
    await workshop.start()
    try:
        yield Offer(toolbox, workshop.run_outside, effects=settings.mcp_effects)
    finally:
        await workshop.close()


def _nobody(_facts: CallFacts) -> Role:
    raise LookupError("there are no calls here")
