from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.call.transcript import Transcript, cut_text


@given(st.text(max_size=200), st.floats(-1, 2))
def test_a_cut_text_is_a_beginning_of_whole_words(text: str, share: float) -> None:
    cut = cut_text(text, share)
    assert text.startswith(cut)
    rest = text[len(cut) :]
    assert not rest or share < 1.0
    assert not cut or not rest or rest[0].isspace()


@given(st.text(alphabet="abc ", max_size=100), st.floats(0, 1), st.floats(0, 1))
def test_who_heard_more_has_the_longer_text(text: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert len(cut_text(text, less)) <= len(cut_text(text, more))


def test_the_text_of_an_unfinished_item_is_measured_by_the_speaking_rate() -> None:
    transcript = Transcript()
    transcript.turn("assistant", "item_1").generated = "word " * 60
    turn = transcript.hear_assistant("item_1", heard_ms=2000, total_ms=2000, whole=False)
    assert turn.text is not None
    assert 20 <= len(turn.text) <= 30


def test_turns_stand_in_the_order_in_which_they_began_however_late_their_text_is() -> None:
    transcript = Transcript()
    transcript.turn("caller", "user_1")
    transcript.turn("assistant", "item_1").generated = "Good evening."
    transcript.hear_assistant("item_1", 900, 900, whole=True)
    transcript.turn("caller", "user_1").text = "Hello?"
    assert transcript.render() == "Caller: Hello?\nAssistant: Good evening."
