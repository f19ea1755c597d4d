"""A call that goes on in another language of its persona, as dialogues."""

from __future__ import annotations

import pytest
from scene import Scene

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.errands import IN_GOODBYE, SET_LANGUAGE
from voice_gateway.call.handoff import UPDATE_PATIENCE_S


@pytest.fixture
def hotel() -> Scene:
    scene = Scene(Policy(audio_format="pcmu", persona="porter"))
    scene.begin()
    scene.pass_until(1.0)
    return scene


def tell_model_of_maid(hotel: Scene) -> None:
    """A handoff that is being confirmed."""
    hotel.tell(ev.HandoffAsked("maid", "api"))
    hotel.tell(ev.HandoffReady("maid", Policy(audio_format="pcmu", persona="maid")))
    assert hotel.all(do.UpdateSession) == [do.UpdateSession("maid")]


def test_a_call_goes_on_in_another_language_from_the_next_response_on(hotel: Scene) -> None:
    hotel.tell(ev.ResponseStarted("resp_1"))
    hotel.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "set_language", "{}"))
    hotel.tell(ev.ResponseFinished("resp_1", "completed"))
    hotel.tell(ev.LanguageAsked("fr"))
    hotel.tell(ev.ToolFinished("call_1", "{}"))
    asked = [command for _, command in hotel.said if isinstance(command, do.SetLanguage | do.CreateResponse)]
    assert asked == [do.SetLanguage("fr", "porter"), do.CreateResponse()]
    assert hotel.tell(ev.SessionUpdated("")) == []
    assert [entry.language for entry in hotel.entries(entries.LanguageSet)] == ["fr"]


def test_a_change_of_language_does_not_undo_a_handoff(hotel: Scene) -> None:
    tell_model_of_maid(hotel)
    assert hotel.tell(ev.LanguageAsked("fr")) == []
    hotel.tell(ev.SessionUpdated("maid"))
    assert [entry.to_persona for entry in hotel.entries(entries.HandedOff)] == ["maid"]
    assert hotel.all(do.SetLanguage) == [do.SetLanguage("fr", "maid")]
    assert [entry.language for entry in hotel.entries(entries.LanguageSet)] == ["fr"]


def test_a_language_that_was_chosen_during_a_handoff_that_failed_is_spoken_all_the_same(hotel: Scene) -> None:
    tell_model_of_maid(hotel)
    assert hotel.tell(ev.LanguageAsked("fr")) == []
    hotel.tell(ev.UpdateRefused("maid", "invalid_value", ""))
    assert hotel.all(do.SetLanguage) == [do.SetLanguage("fr", "porter")]


def test_a_handoff_that_is_confirmed_too_late_keeps_the_language(hotel: Scene) -> None:
    tell_model_of_maid(hotel)
    hotel.pass_until(hotel.now + UPDATE_PATIENCE_S)
    hotel.tell(ev.LanguageAsked("fr"))
    assert hotel.all(do.SetLanguage) == [do.SetLanguage("fr", "porter")], "who leads as far as is known"
    hotel.tell(ev.SessionUpdated("maid"))
    hotel.tell(ev.SessionUpdated(""))
    assert hotel.all(do.SetLanguage)[1:] == [do.SetLanguage("fr", "maid")]


def test_whom_a_second_handoff_goes_to_is_prepared_in_the_language_that_was_chosen_meanwhile(hotel: Scene) -> None:
    tell_model_of_maid(hotel)
    hotel.tell(ev.HandoffAsked("cook", "api"))
    hotel.tell(ev.LanguageAsked("fr"))
    hotel.tell(ev.SessionUpdated("maid"))
    assert hotel.all(do.PrepareHandoff)[-1] == do.PrepareHandoff("cook", "fr")


def test_who_takes_over_speaks_the_language_that_was_chosen_meanwhile(hotel: Scene) -> None:
    maid = ev.HandoffReady("maid", Policy(audio_format="pcmu", persona="maid"))
    hotel.tell(ev.ResponseStarted("resp_1"))
    for call_id, name in (("call_1", "handoff_to"), ("call_2", "set_language")):
        hotel.tell(ev.ToolCalled("resp_1", f"item_{call_id}", call_id, name, "{}"))
    hotel.tell(ev.ResponseFinished("resp_1", "completed"))
    hotel.tell(ev.HandoffAsked("maid", "tool"))
    hotel.tell(maid)
    hotel.tell(ev.LanguageAsked("fr"))
    assert hotel.all(do.PrepareHandoff) == [do.PrepareHandoff("maid"), do.PrepareHandoff("maid", "fr")]
    pending = hotel.bridge._handoffs._pending
    assert pending is not None
    assert pending.ready is None, "what stood ready was of the language before"
    hotel.tell(maid)
    hotel.tell(ev.ToolFinished("call_1", "{}"))
    hotel.tell(ev.ToolFinished("call_2", "{}"))
    assert hotel.all(do.UpdateSession) == [do.UpdateSession("maid")]


def test_a_language_that_the_model_refuses_is_on_record(hotel: Scene) -> None:
    hotel.tell(ev.LanguageAsked("fr"))
    hotel.tell(ev.UpdateRefused("", "invalid_value", "no such language"))
    assert [fault.code for fault in hotel.entries(entries.FaultSeen)] == ["invalid_value"]
    assert not hotel.bridge.has_ended


def test_who_takes_his_leave_goes_on_in_no_other_language(hotel: Scene) -> None:
    hotel.tell(ev.GoodbyeAsked("operator", "Goodbye."))
    assert hotel.tell(ev.LanguageAsked("fr")) == []


def test_who_takes_his_leave_is_told_that_he_goes_on_in_no_other_language(hotel: Scene) -> None:
    hotel.tell(ev.GoodbyeAsked("operator", "Goodbye."))
    hotel.tell(ev.ToolCalled("resp_1", "item_f", "call_1", SET_LANGUAGE, '{"language":"fr"}'))
    assert hotel.all(do.RunTool) == []
    assert hotel.all(do.SendToolOutput) == [do.SendToolOutput("call_1", IN_GOODBYE)]
    assert [(entry.call_id, entry.ok) for entry in hotel.entries(entries.ToolAnswered)] == [("call_1", False)]
