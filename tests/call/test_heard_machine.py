"""The playout against a ledger that is slow and obvious: every byte written down, every receipt by hand."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from voice_gateway.audio.fade import FADE_SAMPLES
from voice_gateway.call.commands import CallerCommand, PlayAudio, SendMark
from voice_gateway.call.playout import Heard, Playout, Segment

LEAD_S = 0.4
DELAY_S = 0.05
BUFFER_S = 0.06


class Ledger:
    """What a patient clerk writes down beside the playout. `voice` and `sent` begin anew with each cut."""

    def __init__(self) -> None:
        self.voice = b""
        self.sent = b""
        self.soft: set[int] = set()
        self.received_ms: dict[str, float] = {}
        self.told_ms: dict[str, int] = {}
        self.plays_until = 0.0
        self.receipts: list[tuple[float, str]] = []
        self.old_marks: list[str] = []
        self.lost = False

    def write(self, commands: list[CallerCommand], now: float, late_s: float) -> None:
        for command in commands:
            if isinstance(command, PlayAudio):
                assert len(command.ulaw) > 0
                self.sent += command.ulaw
                arrives = now + DELAY_S
                begins = self.plays_until if self.plays_until > arrives else arrives + BUFFER_S
                self.plays_until = begins + len(command.ulaw) / 8000
            elif isinstance(command, SendMark):
                assert command.name not in self.old_marks, "every mark has a name of its own"
                reached = max(self.plays_until, now + DELAY_S)
                earliest = max((at for at, _ in self.receipts), default=0.0)
                self.receipts.append((max(earliest, reached + DELAY_S + late_s), command.name))

    def clear(self, now: float) -> None:
        """All that the carrier had still to play is gone; its marks come back, and are old."""
        self.old_marks += [name for _, name in self.receipts]
        self.receipts.clear()
        self.plays_until = now

    def tell(self, told: list[Heard]) -> None:
        for heard in told:
            item = heard.segment.item_id
            assert 0 <= heard.heard_ms <= heard.total_ms <= self.received_ms[item], "never more than was received"
            assert heard.heard_ms >= self.told_ms.get(item, 0), "nothing is taken back"
            self.told_ms[item] = heard.heard_ms
        items = [heard.segment.item_id for heard in told]
        assert len(items) == len(set(items)), "each item once"


class PlayoutMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.playout = Playout(lead_s=LEAD_S, filter_delay_ms=0.0)
        self.ledger = Ledger()
        self.now = 10.0
        self.open: Segment | None = None
        self.items = 0
        self.heard_before = 0
        self.late_s = 0.0

    # --- what may happen ---

    @rule(size=st.integers(1, 9000))
    def speak(self, size: int) -> None:
        if self.open is None:
            self.items += 1
            self.open = self.playout.open_segment("resp", f"item_{self.items}", 0)
        self.queue(self.open, size)

    @precondition(lambda self: self.items and self.open is None)
    @rule(size=st.integers(1, 3000))
    def speak_on_although_it_was_finished(self, size: int) -> None:
        item = f"item_{self.items}"
        if item in self.ledger.received_ms:
            self.open = self.playout.open_segment("resp", item, 0)
            self.queue(self.open, size)

    @precondition(lambda self: self.open is not None)
    @rule()
    def finish(self) -> None:
        assert self.open is not None
        self.playout.finish(self.open)
        self.open = None

    @rule(seconds=st.floats(0.0, 1.5), jitter_s=st.floats(0.0, 0.04))
    def let_time_pass(self, seconds: float, jitter_s: float) -> None:
        self.late_s = jitter_s
        self.live_until(self.now + seconds)

    @rule(seconds=st.floats(0.0, 2.0))
    def sleep_through_all_deadlines(self, seconds: float) -> None:
        """The process was kept from running: no wake-up, and the receipts are read late."""
        self.now += seconds

    @precondition(lambda self: self.ledger.receipts)
    @rule()
    def lose_a_receipt(self) -> None:
        self.ledger.old_marks.append(self.ledger.receipts.pop(0)[1])
        self.ledger.lost = True

    @precondition(lambda self: self.ledger.old_marks)
    @rule(data=st.data())
    def get_an_old_mark(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.ledger.old_marks))
        if name.startswith("g") and not name.startswith(f"g{self.playout._clock._generation}:"):
            before = self.playout.heard(self.now)
            assert self.playout.reach_mark(name, self.now) is None
            assert self.playout.heard(self.now) == before, "it says nothing"

    @rule()
    def hold(self) -> None:
        position, held_already = self.playout.heard(self.now), self.playout.held
        if self.playout.hold(self.now):
            assert not held_already
            self.ledger.sent = self.ledger.sent[:position]
            self.ledger.soft |= set(range(position, position + FADE_SAMPLES))
            self.ledger.clear(self.now)

    @rule()
    def resume(self) -> None:
        self.write(self.playout.resume(self.now))

    @rule()
    def cut(self) -> None:
        position = self.playout.heard(self.now)
        told = self.playout.cut(self.now)
        self.ledger.tell(told)
        assert sum(heard.heard_ms for heard in told) <= position / 8 + sum(self.ledger.told_ms.values())
        self.ledger.clear(self.now)
        self.ledger.voice = self.ledger.sent = b""
        self.ledger.lost = False
        self.ledger.soft.clear()
        self.ledger.received_ms.clear()
        self.ledger.told_ms.clear()
        self.open = None
        self.heard_before = 0

    # --- what must hold ---

    @invariant()
    def heard_never_runs_backwards_nor_past_what_was_sent(self) -> None:
        heard = self.playout.heard(self.now)
        assert self.heard_before <= heard <= len(self.ledger.sent)
        self.heard_before = heard

    @invariant()
    def what_was_sent_is_the_voice_in_order_and_nothing_of_an_earlier_one(self) -> None:
        sent, voice = self.ledger.sent, self.ledger.voice
        assert len(sent) <= len(voice)
        assert all(sent[at] == voice[at] for at in range(len(sent)) if at not in self.ledger.soft)

    @invariant()
    def a_deadline_is_kept_for_what_waits_and_for_nothing_else(self) -> None:
        deadline = self.playout.deadline()
        if self.playout.held:
            assert deadline is None
        elif len(self.ledger.voice) == len(self.ledger.sent):
            assert deadline is None or deadline <= self.now + 0.1, "and for two probes when all is over"
        elif len(self.ledger.sent):
            assert deadline is not None

    @invariant()
    def it_is_audible_exactly_while_something_is_unheard(self) -> None:
        assert self.playout.is_audible(self.now) == (self.playout.heard(self.now) < len(self.ledger.voice))

    def teardown(self) -> None:
        """In the end everything is heard; when no receipt was lost, everything is told."""
        if self.open is not None:
            self.finish()
        self.resume()
        self.live_until(self.now + 90.0)
        assert len(self.ledger.sent) == len(self.ledger.voice)
        assert not self.playout.is_audible(self.now)
        self.ledger.tell(self.playout.pop_heard(self.now))
        if not self.ledger.lost:
            assert self.ledger.told_ms == {item: int(ms) for item, ms in self.ledger.received_ms.items()}

    # --- how it is done ---

    def queue(self, segment: Segment, size: int) -> None:
        start = len(self.ledger.voice)
        sound = bytes((at * 7 + self.items) % 251 for at in range(start, start + size))
        self.ledger.voice += sound
        item = segment.item_id
        self.ledger.received_ms[item] = self.ledger.received_ms.get(item, 0.0) + size / 8
        self.playout.queue(segment, sound, size / 8)
        self.write(self.playout.pump(self.now))

    def write(self, commands: list[CallerCommand]) -> None:
        assert not (self.playout.held and commands), "while held nothing is sent"
        self.ledger.write(commands, self.now, self.late_s)

    def live_until(self, until: float) -> None:
        for _ in range(2000):
            deadline = self.playout.deadline()
            receipt = self.ledger.receipts[0][0] if self.ledger.receipts else until
            due = min(receipt, until if deadline is None else deadline)
            if due >= until:
                break
            self.now = max(self.now, due)
            self.heard_never_runs_backwards_nor_past_what_was_sent()
            if self.ledger.receipts and receipt <= self.now:
                self.playout.reach_mark(self.ledger.receipts.pop(0)[1], self.now)
                self.ledger.tell(self.playout.pop_heard(self.now))
            self.write(self.playout.pump(self.now))
            self.heard_never_runs_backwards_nor_past_what_was_sent()
        else:
            raise AssertionError("woken without end")
        self.now = max(self.now, until)


TestPlayout = PlayoutMachine.TestCase
TestPlayout.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
