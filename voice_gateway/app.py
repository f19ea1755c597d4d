"""The composition root: the one place that sees everything. Settings in, a gateway that serves calls out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import hmac
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from voice_gateway import __version__
from voice_gateway.agent.cast import Cast, LivingCast, Role, Sources
from voice_gateway.agent.greetings import Greetings
from voice_gateway.agent.once import Once
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import ToolContext, ToolOutcome
from voice_gateway.audio.activity import Shelf
from voice_gateway.audio.onset import OnsetDetector
from voice_gateway.budget import Budget, Limits
from voice_gateway.call import entries
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.call.events import CallFacts, GoodbyeAsked
from voice_gateway.call.goodbye import END_CALL
from voice_gateway.call.greeting import Clip
from voice_gateway.caller.consent import ConsentRules, Terms, Wish, load_rules
from voice_gateway.caller.farewells import Farewells
from voice_gateway.caller.rest import TwilioRest
from voice_gateway.caller.signature import SignatureCheck
from voice_gateway.caller.tokens import StreamTokens
from voice_gateway.config import Settings
from voice_gateway.figures import Figures, direction_of
from voice_gateway.journal import Journal, Listener
from voice_gateway.keeper import Keeper, Wishes
from voice_gateway.model.prices import BUILT_IN, load_prices
from voice_gateway.model.settings import ModelSettings, Transcription
from voice_gateway.model.socket import ModelRefused, ModelSocket
from voice_gateway.ops import logs
from voice_gateway.ops.metrics import LoopLag, Metrics
from voice_gateway.ops.redaction import Redactor
from voice_gateway.recorder import Recorder
from voice_gateway.session import Core, Service
from voice_gateway.store.clips import Clips
from voice_gateway.store.outbox import collecting
from voice_gateway.store.records import new_id
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.tables import Tables
from voice_gateway.summary import Summaries
from voice_gateway.switchboard import Switchboard
from voice_gateway.trace.folder import TraceFolder
from voice_gateway.trace.notes import Heading
from voice_gateway.web import health
from voice_gateway.web.calls import CallDoors
from voice_gateway.web.twilio import Doorbell, Sentences, TwilioDoors

if TYPE_CHECKING:
    from voice_gateway.store.shipper import Shipper

SECOND_ATTEMPT_AFTER = 0.25
MCP_SERVED = False
"""Whether this version has the MCP door that MCP_ENABLED opens."""

STREAM_PATIENCE_S = 30.0
SPOKEN_CHARACTERS_PER_S = 10.0
"""Slow speech: the carrier says the first sentence before it opens the stream."""

LAST_SHIPPING_S = 5.0
"""What is not in Supabase by then stays in the file, and is shipped by the next process."""


class Gateway:
    """Everything that serves calls, built once. `asgi` is the application; its lifespan starts and stops the rest."""

    def __init__(self, settings: Settings, cast: Cast, listeners: Sequence[Listener] = ()) -> None:
        """listeners: told of every entry besides the metrics; must be quick and must not raise."""
        self._settings = settings
        self._cast = cast
        self._once = Once(time.monotonic)
        self._log = logs.get("app")
        self._secret = settings.stream_token_secret.get_secret_value().encode() or secrets.token_bytes(32)
        self.metrics = Metrics(
            version=__version__,
            personas=cast.keys,
            tools=sorted({name for role in cast.roles for name in role.toolbox.names}),
            models=[settings.openai_realtime_model],
            enabled=settings.metrics_enabled,
        )
        self._figures = Figures(self.metrics, settings.openai_realtime_model)
        at_open = collecting(settings.webhook_events)
        self.store = SqliteStore(settings.store_path, max_bytes=settings.store_max_mb << 20, at_open=at_open)
        self._keeper = Keeper(self.store, _wishes(settings), self.metrics)
        self.shipper = self._new_shipper()
        self._tables = Tables(settings.store_path)
        self.budget = Budget(Limits(settings.max_caller_usd_per_day, settings.max_usd_per_day), _today)
        self._greetings = Greetings(
            Clips(settings.clips_folder) if settings.greeting_clips else None,
            model=settings.openai_realtime_model,
            endpoint=settings.openai_realtime_endpoint,
        )
        may_interrupt = settings.barge_in_enabled and settings.duplex_enabled
        self._judges = Shelf() if may_interrupt and settings.barge_in_mode == "edge" else None
        self.summaries = Summaries(
            tariff=lambda: self._prices.tariff(settings.openai_realtime_model, _today()),
            intents=settings.summary_intents,
            enabled=settings.summary_enabled,
        )
        inner = (self._figures.count, self._account, self._take_back, self._guard_trace, self.summaries.note)
        self.journal = Journal(
            self.store,
            wall_clock=lambda: datetime.now(UTC),
            new_id=new_id,
            instance_id=f"{socket.gethostname()}:{os.getpid()}",
            listeners=[*inner, *listeners],
            redactor=Redactor(settings.redact_transcripts.split(",")) if settings.redact_transcripts else None,
        )
        self._traces = None if settings.trace_dir is None else self._trace_folder(settings.trace_dir)
        self._rest = _rest(settings)
        self._farewells = Farewells(
            None if self._rest is None else self._rest.hang_up,
            confirm_s=settings.end_confirm_seconds,
            count=self.metrics.end_unconfirmed,
        )
        self._consents: ConsentRules | None = None
        self._recorder: Recorder | None = None
        if settings.recording_enabled:
            languages = {role.persona.key: role.persona.language for role in cast.roles}
            wish = Wish(settings.recording_consent, settings.recording_wording)
            self._consents = load_rules(settings.recording_rules, wish, languages)
            folder, keep_days = settings.recordings_dir, settings.recording_retention_days
            self._recorder = Recorder(folder, keep_days=keep_days, count=self.metrics.recorded)
        self.switchboard = Switchboard(
            journal=self.journal,
            prepare_model=self._prepare_model,
            new_bridge=self._new_bridge,
            service=Service(
                self,
                self._figures.observe,
                time.monotonic,
                keep_greeting=self._keep_greeting,
                failed_sentence=settings.failed_sentence,
                summaries=self.summaries,
            ),
            max_calls=settings.max_calls,
            exceeded=self.budget.exceeded,
            farewells=self._farewells,
            stream_patience_s=STREAM_PATIENCE_S
            + len(settings.answer_sentence) / SPOKEN_CHARACTERS_PER_S
            + (0.0 if self._consents is None else self._consents.longest_s),
        )
        self._prices = load_prices(Path(settings.prices_file) if settings.prices_file else BUILT_IN)
        self.metrics.watch_admission(self._is_available, lambda: self.switchboard.draining)
        self.metrics.watch_store(
            lambda: self.store.depth, lambda: self.store.oldest_age_s(time.monotonic()), lambda: self.store.cleared
        )
        self.asgi = Starlette(routes=self._routes(), lifespan=self._live)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be seen anywhere: for the log's scrubber, and for the tests that look for it."""
        return self._settings.secrets()

    def _model_interrupts(self, persona: Persona) -> bool:
        """Whether the model may cancel its response when it hears the caller; what it does not, the bridge does."""
        detection = persona.turn_detection
        wanted = detection is None or detection.interrupt_response
        return self._settings.barge_in_enabled and persona.barge_in.left_to_the_model and wanted

    def _may_hold(self, persona: Persona) -> bool:
        """Whether our voice may be held for a caller before the model has heard him (BARGE_IN_MODE=edge)."""
        return persona.barge_in.enabled and persona.turn_detection is not None

    def _role(self, facts: CallFacts) -> Role:
        return self._cast.role(facts.persona)

    def _voice(self, persona: Persona) -> str:
        return persona.voice or self._settings.openai_realtime_voice

    def _new_shipper(self) -> Shipper | None:
        """What brings the record to Supabase, where a project is named; it costs memory that nobody else should pay."""
        if not self._settings.supabase_url:
            return None
        from voice_gateway.store.supabase import shipper_to  # noqa: PLC0415 - see above

        shipper = shipper_to(self._settings.supabase_url, self._settings.supabase_key, self.store)
        self.metrics.watch_outbox(shipper)
        return shipper

    # --- what a call is made of ---------------------------------------------------------------------------------

    async def _prepare_model(self, facts: CallFacts) -> ModelSocket:
        """Open and configure the model's session for a call; `ModelRefused` says why not.

        What fails fast and may pass, such as a server error, is tried once more: the caller is still being connected.
        """
        if self._judges is not None and self._may_hold(self._role(facts).persona):
            self._judges.keep(facts.call_sid, await asyncio.to_thread(self._judges.make))
        try:
            return await self._open_model(facts)
        except ModelRefused as refused:
            if not refused.retryable or refused.code == "timeout":
                raise
        await asyncio.sleep(SECOND_ATTEMPT_AFTER)
        return await self._open_model(facts)

    async def _open_model(self, facts: CallFacts) -> ModelSocket:
        try:
            model = await ModelSocket.open(
                self._settings.openai_realtime_endpoint,
                api_key=self._settings.openai_api_key.get_secret_value(),
                settings=self._model_settings(self._role(facts)),
                connect_timeout_s=self._settings.openai_connect_timeout_seconds,
                safety_identifier=self._safety_identifier(facts.from_number),
            )
        except ModelRefused as refused:
            self.metrics.leg_failed("model", "timeout" if refused.code == "timeout" else "refused")
            self._log.error("model.refused", call_sid=facts.call_sid, code=refused.code, message=refused.message)
            raise
        for mismatch in model.dialect.warnings:
            self._log.warning("model.session.differs", call_sid=facts.call_sid, difference=str(mismatch))
        return model

    def _model_settings(self, role: Role) -> ModelSettings:
        settings, persona = self._settings, role.persona
        transcription = settings.openai_transcription_model
        return ModelSettings(
            model=settings.openai_realtime_model,
            voice=self._voice(persona),
            instructions=persona.instructions,
            tools=tuple(role.toolbox.specs()),
            audio_format=settings.openai_audio_format,
            turn_detection=persona.turn_detection
            and replace(persona.turn_detection, interrupt_response=self._model_interrupts(persona)),
            transcription=Transcription(transcription, language=persona.language) if transcription else None,
        )

    def _safety_identifier(self, from_number: str) -> str:
        """A stable name for a caller that tells nobody his number (OpenAI asks for one to trace abuse)."""
        return hmac.new(self._secret, from_number.encode(), hashlib.sha256).hexdigest() if from_number else ""

    def _trace_folder(self, folder: Path) -> TraceFolder:
        return TraceFolder(
            folder,
            max_bytes=self._settings.trace_max_mb * 1_000_000,
            secrets=self.secrets,
            version=__version__,
            wall_clock=lambda: datetime.now(UTC),
            count=self.metrics.traced,
        )

    def _new_bridge(self, facts: CallFacts, began_at: float) -> Core:
        settings, prices, today = self._settings, self._prices, _today()
        persona, outbound = self._role(facts).persona, direction_of(facts) == "outbound"
        wish = persona.barge_in
        judge = self._judges.lend(facts.call_sid) if self._judges is not None and self._may_hold(persona) else None
        policy = Policy(
            greeting=persona.greeting_instructions,
            clip=self._greetings.clip(persona, self._voice(persona)),
            greeting_to_keep=self._greetings.to_keep(persona, self._voice(persona)),
            barge_in=settings.barge_in_enabled and wish.enabled,
            barge_in_mode="server" if judge is None else "edge",
            confirm_s=settings.barge_in_confirm_ms / 1000,
            min_speech_ms=wish.min_speech_ms,
            protect_greeting=wish.protect_greeting,
            speech_prefix_ms=persona.speech_prefix_ms,
            model_interrupts=self._model_interrupts(persona),
            model_answers=persona.turn_detection is None or persona.turn_detection.create_response,
            may_end=END_CALL in self._role(facts).toolbox.names,
            idle=persona.idle,
            duplex=settings.duplex_enabled,
            audio_format=settings.openai_audio_format,
            lead_s=settings.playout_lead_ms / 1000,
            mark_every_s=settings.mark_every_ms / 1000,
            media_stall_s=settings.media_stall_seconds,
            response_stall_s=settings.response_stall_seconds,
            max_duration_s=settings.max_call_seconds,
            failed_sentence=settings.failed_sentence,
            budget_sentence=settings.budget_sentence,
            tariff=prices.tariff(settings.openai_realtime_model, today),
            transcription_usd_per_minute=prices.transcription_usd_per_minute(settings.openai_transcription_model, today)
            or 0.0,
            line_usd_per_minute=prices.outbound_usd_per_minute if outbound else prices.inbound_usd_per_minute,
            max_cost_usd=settings.max_call_usd,
        )
        bridge = Bridge(policy, began_at, None if judge is None else OnsetDetector(judge))
        followed = bridge if self._traces is None else self._traces.follow(bridge, Heading(facts, policy, began_at))
        call = self.switchboard.find(facts.call_sid)
        if self._recorder is None or call is None or call.consent is None:
            return followed
        return self._recorder.follow(followed, call.record, call.consent)

    def _recording_terms(self, facts: CallFacts) -> Terms:
        """How a caller's consent is had; a persona that came later and whose language has no sentence records none."""
        try:
            return (
                Terms("never")
                if self._consents is None
                else self._consents.terms(facts, self._role(facts).persona.language)
            )
        except ValueError as problem:
            self._log.error("recording.no_wording", persona=facts.persona, detail=str(problem))
            return Terms("never")

    def _keep_greeting(self, facts: CallFacts, clip: Clip) -> None:
        persona = self._role(facts).persona
        self._greetings.keep(persona, self._voice(persona), clip)

    async def run(self, call: CallFacts, name: str, arguments: str) -> tuple[str, bool]:
        """Run a tool for a call: `session.Tools`."""
        persona, toolbox = (role := self._role(call)).persona, role.toolbox

        async def work(key: str = "") -> ToolOutcome:
            context = ToolContext(
                call_sid=call.call_sid,
                from_number=call.from_number,
                to_number=call.to_number,
                persona=persona.key,
                language=persona.language,
                digits=call.digits,
                market=persona.market or None,
                key=key,
                tables=self._tables,
                tell=lambda event: self.switchboard.tell(call.call_sid, event),
            )
            return await toolbox.run(name, arguments, context)

        has_effect = toolbox.has_effect(name)
        outcome = await (self._once.run(call.call_sid, name, arguments, work) if has_effect else work())
        return outcome.output, outcome.ok

    def unpriced(self) -> tuple[str, ...]:
        """A sentence for each model that is in use and has no price: its share of every cost is missing."""
        settings, prices, today = self._settings, self._prices, _today()
        session, transcription = settings.openai_realtime_model, settings.openai_transcription_model
        nameless = [] if prices.tariff(session, today) else [session]
        if transcription and prices.transcription_usd_per_minute(transcription, today) is None:
            nameless.append(transcription)
        advice = "The price list has no price for {}: costs and their limits leave it out. Put it in PRICES_FILE."
        return tuple(advice.format(model) for model in nameless)

    def _is_available(self) -> bool:
        """Would a call that comes now be served, and its record be kept?"""
        stuck = self.store.stuck(time.monotonic())
        return self.switchboard.is_available and not stuck and not self._settings.missing()

    # --- what is counted ----------------------------------------------------------------------------------------

    def _account(self, facts: CallFacts, entry: entries.Entry) -> None:
        """Book what a call costs; when that reaches a limit of the day, this call is asked to end."""
        spent_usd = self.budget.note(facts, entry)
        if spent_usd:
            self.metrics.cost_arisen(spent_usd)
        limit = self.budget.exceeded(facts.from_number) if spent_usd else None
        if limit is not None:
            self.switchboard.say_goodbye(facts.call_sid, GoodbyeAsked(limit, self._settings.budget_sentence))

    def _take_back(self, facts: CallFacts, entry: entries.Entry) -> None:
        """What a call had for itself."""
        if not isinstance(entry, entries.CallEnded):
            return
        self._once.forget(facts.call_sid)
        if self._judges is not None:
            self._judges.give_back(facts.call_sid)

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
        enabled = settings.voice_agent_enabled and settings.ai_realtime_enabled
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
            recording_terms=None if self._consents is None else self._recording_terms,
        )
        checks = [
            health.configured(settings.missing()),
            health.store_moving(lambda: self.store.oldest_age_s(time.monotonic())),
            health.not_draining(lambda: self.switchboard.draining),
            health.not_full(lambda: self.switchboard.live, settings.max_calls),
        ]
        features = {"voiceAgent": enabled, "mcp": settings.mcp_enabled and MCP_SERVED}
        details = {**({} if self.shipper is None else {"outbox": self.shipper.tell}), **self._keeper.details}
        return [
            *health.health_routes(
                version=__version__, features=features, checks=checks, metrics=self.metrics, details=details
            ),
            *TwilioDoors(self.switchboard, doorbell).routes(),
            *CallDoors(self.switchboard, settings.api_token.get_secret_value(), self.metrics.refused).routes(),
        ]

    # --- life ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _live(self, _app: Starlette) -> AsyncIterator[None]:
        await self.store.start()
        midnight = datetime.combine(_today(), time_of_day.min).astimezone()
        self.budget.restore(await self.store.spent_since(midnight))
        await asyncio.to_thread(self._tables.start)
        await self._greetings.start()
        if self._judges is not None:  # the first one loads the library, and says so if there is none
            self._judges.keep("", await asyncio.to_thread(self._judges.make))
            self._judges.give_back("")
        if self._recorder is not None:
            await self._recorder.start()
        if self.shipper is not None:
            self.shipper.start()
        self._keeper.start()
        lag = asyncio.create_task(LoopLag(self.metrics.loop_lagged).run())
        # What was imported lives as long as the process: a full collection would stop every call to look at it again.
        gc.collect()
        gc.freeze()
        try:
            yield
        finally:
            await self.switchboard.drained(0.0)
            await self._farewells.close()
            if self._rest is not None:
                await self._rest.close()
            lag.cancel()
            if self._traces is not None:
                await asyncio.to_thread(self._traces.close)
            if self._recorder is not None:
                await self._recorder.close()
            await self._greetings.close()
            await self._keeper.close(LAST_SHIPPING_S)
            if self.shipper is not None:
                await self.shipper.close(LAST_SHIPPING_S)
            lost = await self.store.close()
            if lost:
                self._log.error("store.records_lost", records=lost)


def build(settings: Settings, listeners: Sequence[Listener] = ()) -> Gateway:
    """Make a gateway from its settings. Raises `GatewayError` when a persona or a tool that it needs is not there."""
    sources = Sources(house_toolbox(), settings.default_persona, settings.personas_dir, settings.routes_file)
    return Gateway(settings, LivingCast(sources, time.monotonic), listeners)


def _wishes(settings: Settings) -> Wishes:
    url, secret = settings.call_webhook_url.get_secret_value(), settings.call_webhook_secret.get_secret_value()
    return Wishes(url, secret, settings.retention_days, settings.trace_dir)


def _rest(settings: Settings) -> TwilioRest | None:
    """The carrier's REST API, where there are credentials for it."""
    tokens = settings.twilio_auth_tokens
    if not settings.twilio_account_sid or not tokens:
        return None
    return TwilioRest(settings.twilio_account_sid, tokens[0], settings.twilio_api_url or None)


def _today() -> date:
    """By this machine's local time, as the operator reads his day."""
    return datetime.now().astimezone().date()
