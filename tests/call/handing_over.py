"""What the dialogues of handoffs share: who there is, how one goes on, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

from scene import Line, Scene

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy

WAITER = Policy(audio_format="pcmu", persona="waiter", name="Waiter", may_end=True, keys={"9": "cfo", "*1": "cfo"})
CFO = replace(WAITER, persona="cfo", name="Finance chief", keys={})
ASKED = ev.HandoffAsked("cfo", "api")
BY_TOOL = ev.HandoffAsked("cfo", "tool", "the VAT of a coffee")


def call(policy: Policy = WAITER, line: Line | None = None) -> Scene:
    """A call in which the waiter has said something."""
    scene = Scene(policy, line)
    scene.begin()
    scene.pass_until(1.0)
    scene.answer("resp_1", "item_1", 1.0, text="What can I get you?")
    scene.pass_until(4.0)
    return scene


def ready(scene: Scene, policy: Policy = CFO, *, another: bool = False) -> list[do.Command]:
    session_id, model = ("sess_2", "other-model") if another else ("", "")
    return scene.tell(ev.HandoffReady(policy.persona, policy, session_id, model))


def confirm(scene: Scene, persona: str = "cfo") -> list[do.Command]:
    return scene.tell(ev.SessionUpdated(persona))


def told(commands: list[do.Command]) -> list[do.Command]:
    """Without what is for the record, and what is merely played."""
    other = (do.WriteEntry, do.Observe, do.PlayAudio, do.SendMark)
    return [command for command in commands if not isinstance(command, other)]


def notes(commands: list[do.Command]) -> str:
    return "\n".join(command.text for command in commands if isinstance(command, do.AddNote))


def handed(scene: Scene) -> list[tuple[str, str]]:
    return [(entry.from_persona, entry.to_persona) for entry in scene.entries(entries.HandedOff)]


def speak(scene: Scene, item: str, text: str, *, ms: int = 0) -> None:
    """The caller says something, and it is written down."""
    scene.tell(ev.SpeechStarted(item, ms))
    scene.tell(ev.SpeechStopped(item, ms + 500))
    scene.tell(ev.TurnCommitted(item))
    scene.tell(ev.UserTranscribed(item, text))
