"""Interruptions of every kind, each as a dialogue on a seeded line: what the model is told was heard, and what was.

Each item's sound is made of a byte of its own, so the line knows how much of which item was really played. What the
model believes was heard of an item is what it was truncated at, or all of its sound when it was never truncated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from scene import Line, Scene

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy


@dataclass(frozen=True, slots=True)
class Interruption:
    """One barge-in. audible: whether anything of ours was.

    error_ms: what the model believes was heard of the audible item, less the truth. others_ms: the worst of all other
    items that were cut. right: that item was the first to be cut, and none when nothing was audible.
    """

    audible: bool
    error_ms: float
    others_ms: float
    right: bool


@dataclass
class Dialogue:
    """A call between a model that speaks in items and a caller who interrupts, on a line with weather."""

    scene: Scene
    chance: Random
    received_ms: dict[str, int] = field(default_factory=dict)
    cuts: list[tuple[int, str | None]] = field(default_factory=list)
    """For each barge-in how many commands were said before it, and the item that should be cut, if any."""

    # --- the model ---

    def speak(self, item: str, seconds: float, *, response: str = "", done: bool = True, starts: bool = True) -> None:
        """All at once, faster than it is heard."""
        response = response or f"resp_{item}"
        if starts:
            self.scene.tell(ev.ResponseStarted(response))
            self.scene.tell(ev.ItemStarted(response, item, "message"))
        for _ in range(round(seconds * 10)):
            self._delta(response, item, 100)
        if done:
            self.scene.tell(ev.AudioFinished(response, item, 0))
            self.scene.tell(ev.ResponseFinished(response, "completed"))

    def dribble(self, item: str, seconds: float, *, speed: float, until: float) -> None:
        """As it is generated, `speed` times as fast as it is heard; the rest comes after `until`."""
        response = f"resp_{item}"
        self.scene.tell(ev.ResponseStarted(response))
        self.scene.tell(ev.ItemStarted(response, item, "message"))
        began = self.scene.now
        for number in range(round(seconds * 10)):
            due = began + number * 0.1 / speed
            if due > until:
                return
            self.scene.pass_until(due)
            self._delta(response, item, 100)

    def _delta(self, response: str, item: str, length_ms: int) -> None:
        self.received_ms[item] = self.received_ms.get(item, 0) + length_ms
        self.scene.tell(ev.AudioReceived(response, item, 0, self.byte(item) * (8 * length_ms)))

    def byte(self, item: str) -> bytes:
        return bytes([0x10 + list(self.received_ms).index(item)])

    # --- the caller ---

    def wait(self, seconds: float) -> None:
        self.scene.pass_until(self.scene.now + seconds)

    def about(self, seconds: float) -> None:
        """So long, at any point between two marks."""
        self.wait(seconds + self.chance.uniform(0.0, 0.2))

    def interrupt(self, audible: str | None, *, stops: bool = True) -> None:
        self.cuts.append((len(self.scene.said), audible))
        self.scene.caller_speaks(f"user_{len(self.cuts)}")
        if stops:
            self.scene.caller_stops(f"user_{len(self.cuts)}")

    # --- the truth ---

    def judge(self) -> list[Interruption]:
        """After the call, when all that will be heard was heard."""
        self.wait(15.0)
        ends = [start for start, _ in self.cuts[1:]] + [len(self.scene.said)]
        judged: list[Interruption] = []
        for (start, audible), end in zip(self.cuts, ends, strict=True):
            cut = {c.item_id: c.audio_end_ms for _, c in self.scene.said[start:end] if isinstance(c, do.TruncateItem)}
            errors = {item: abs(believed - self._heard_ms(item)) for item, believed in cut.items()}
            error = 0.0 if audible is None else self._believed_ms(audible) - self._heard_ms(audible)
            others = max((off for item, off in errors.items() if item != audible), default=0.0)
            right = list(cut)[:1] == ([] if audible is None else [audible])
            judged.append(Interruption(audible is not None, error, others, right))
        return judged

    def _heard_ms(self, item: str) -> float:
        return self.scene.line.heard_ms(self.byte(item))

    def _believed_ms(self, item: str) -> int:
        told = [c.audio_end_ms for c in self.scene.all(do.TruncateItem) if c.item_id == item]
        return told[-1] if told else self.received_ms[item]


# --- the cases --------------------------------------------------------------------------------------------------


def whole_reply_cut_at_3_s(call: Dialogue) -> None:
    call.speak("item", 8.0)
    call.about(2.9)
    call.interrupt("item")


def still_generating_cut_at_1_s(call: Dialogue) -> None:
    call.dribble("item", 8.0, speed=1.5, until=call.scene.now + 1.0 + call.chance.uniform(-0.1, 0.1))
    call.interrupt("item")


def two_items_cut_at_1_5_s(call: Dialogue) -> None:
    call.speak("first", 3.0)
    call.speak("second", 6.0)
    call.about(1.4)
    call.interrupt("first")


def cut_a_quarter_second_after_the_first_delta(call: Dialogue) -> None:
    call.speak("item", 5.0)
    call.wait(0.25)
    call.interrupt("item")


def all_was_heard(call: Dialogue) -> None:
    call.speak("item", 2.0)
    call.about(2.9)
    call.interrupt(None)


def again_in_the_next_reply(call: Dialogue) -> None:
    call.speak("first", 6.0)
    call.about(1.4)
    call.interrupt("first")
    call.about(0.8)
    call.speak("second", 6.0)
    call.about(1.0)
    call.interrupt("second")


def during_a_tool_call(call: Dialogue) -> None:
    call.speak("item", 4.0, response="resp", done=False)
    call.scene.tell(ev.AudioFinished("resp", "item", 0))
    call.scene.tell(ev.ToolCalled("resp", "item_tool", "call_1", "lookup_menu", "{}"))
    call.scene.tell(ev.ResponseFinished("resp", "completed"))
    call.about(1.4)
    call.interrupt("item")
    call.wait(0.5)
    call.scene.tell(ev.ToolFinished("call_1", "{}", ok=True))


def two_300_ms_apart(call: Dialogue) -> None:
    """The second finds silence."""
    call.speak("item", 6.0)
    call.about(1.4)
    call.interrupt("item")
    call.wait(0.3)
    call.interrupt(None)


def two_300_ms_apart_an_answer_between(call: Dialogue) -> None:
    """The model answered at once, and its first sound is just being heard, or is not yet."""
    call.speak("first", 6.0)
    call.about(1.4)
    call.interrupt("first")
    call.wait(0.05)
    call.speak("second", 6.0)
    call.wait(0.25)
    call.interrupt("second")


def the_model_stalls_and_goes_on(call: Dialogue) -> None:
    call.speak("item", 1.0, done=False)
    call.about(2.4)
    call.speak("item", 3.0, done=False, starts=False)
    call.about(0.9)
    call.interrupt("item")


def a_stall_as_long_as_the_sound(call: Dialogue) -> None:
    """The next sound reaches the carrier just when it runs dry: has it paused? Interrupted before any mark can tell."""
    line = call.scene.line
    call.speak("item", 1.0, done=False)
    call.wait(1.0 + line.jitter_buffer_s + line.late_s + call.chance.uniform(-0.02, 0.02))
    call.speak("item", 3.0, done=False, starts=False)
    call.wait(0.1)
    call.interrupt("item")


def queued_behind_another_cut_in_the_first(call: Dialogue) -> None:
    call.speak("first", 4.0)
    call.wait(1.0)
    call.speak("second", 4.0)
    call.about(0.9)
    call.interrupt("first")


def queued_behind_another_cut_in_the_second(call: Dialogue) -> None:
    call.speak("first", 3.0)
    call.wait(1.0)
    call.speak("second", 4.0)
    call.about(3.4)
    call.interrupt("second")


Case = Callable[[Dialogue], None]

CASES: dict[str, Case] = {
    "whole reply, cut at 3 s": whole_reply_cut_at_3_s,
    "still generating, cut at 1 s": still_generating_cut_at_1_s,
    "items of 3 s and 6 s, cut at 1.5 s": two_items_cut_at_1_5_s,
    "cut 0.25 s after the first delta": cut_a_quarter_second_after_the_first_delta,
    "all was heard": all_was_heard,
    "again in the next reply": again_in_the_next_reply,
    "during a tool call": during_a_tool_call,
    "two 300 ms apart": two_300_ms_apart,
    "two 300 ms apart, an answer between": two_300_ms_apart_an_answer_between,
    "the model stalls and goes on": the_model_stalls_and_goes_on,
    "queued behind another, cut in the first": queued_behind_another_cut_in_the_first,
    "queued behind another, cut in the second": queued_behind_another_cut_in_the_second,
}
HARD_CASES: dict[str, Case] = {
    "a stall just as long as the sound": a_stall_as_long_as_the_sound,
}


# --- the weather ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sky:
    """What all seeds share. late_s: whenever playing starts anew. greeted: the case is not the call's first words."""

    jitter_s: float = 0.0
    late_s: float = 0.0
    greeted: bool = True


SKIES: dict[str, Sky] = {
    "steady": Sky(),
    "jitter of 30 ms": Sky(jitter_s=0.03),
    "100 ms late": Sky(late_s=0.1),
    "100 ms late, jitter": Sky(jitter_s=0.03, late_s=0.1),
    "first words": Sky(greeted=False),
    "first words, jitter": Sky(jitter_s=0.03, greeted=False),
}


def play(case: Case, sky: Sky, seed: int) -> tuple[Dialogue, list[Interruption]]:
    """One call: 20 to 150 ms to the carrier and back, each way for itself, and a jitter buffer of 0 to 80 ms."""
    chance = Random(seed)  # noqa: S311 - seeded weather wants a repeatable generator, not a secret one
    line = Line(
        one_way_s=chance.uniform(0.02, 0.15),
        back_s=chance.uniform(0.02, 0.15),
        jitter_buffer_s=chance.uniform(0.0, 0.08),
        jitter_s=sky.jitter_s,
        late_s=sky.late_s,
        seed=seed,
    )
    call = Dialogue(Scene(Policy(audio_format="pcmu"), line), chance)
    call.scene.begin()
    call.wait(0.4)
    if sky.greeted:
        call.speak("greeting", 2.0)
        call.about(4.0)
    case(call)
    return call, call.judge()
