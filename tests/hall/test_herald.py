"""The herald: whoever has something said in a call learns what was heard of it, and never waits for ever."""

from __future__ import annotations

import pytest

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts, InnerEvent, SayAsked
from voice_gateway.herald import Herald, Said, Saying

CALL, OTHER = CallFacts("CA1"), CallFacts("CA2")


class House:
    """A herald, and the calls it tells."""

    def __init__(self) -> None:
        self.told: list[tuple[str, InnerEvent]] = []
        numbers = iter(range(1, 9))
        self.herald = Herald(self._tell, lambda: f"say_{next(numbers)}")

    def _tell(self, call_sid: str, event: InnerEvent) -> bool:
        self.told.append((call_sid, event))
        return call_sid != "CA9"

    def say(self, call_sid: str = "CA1", text: str = "Hello.") -> Saying:
        saying = self.herald.say(call_sid, text, mode="speak", interrupt=False, by="shop")
        assert saying is not None
        self.herald.note(CallFacts(call_sid), entries.SayingAsked(saying.saying_id, "shop", "speak", text, False))  # noqa: FBT003 - an entry
        return saying


@pytest.fixture
async def house() -> House:
    return House()


def spoke(item_id: str, text: str, heard_ms: int) -> entries.AssistantSpoke:
    return entries.AssistantSpoke(item_id, text, text, heard_ms, heard_ms, interrupted=False)


async def test_what_was_heard_comes_back_as_it_stands_on_the_record(house: House) -> None:
    saying = house.say()
    assert house.told == [("CA1", SayAsked("say_1", "Hello.", "speak", interrupt=False, by="shop"))]
    assert saying.accepted.done()
    house.herald.note(CALL, spoke("item_0", "Something else.", 900))
    house.herald.note(CALL, spoke("item_1", "Hello", 400))
    house.herald.note(CALL, spoke("item_2", "there.", 300))
    house.herald.note(OTHER, entries.SayingEnded("say_1", "failed"))
    assert not saying.ended.done(), "another call's"
    house.herald.note(CALL, entries.SayingEnded("say_1", "heard", ("item_1", "item_2")))
    assert await saying.ended == Said("heard", "Hello there.", 700)
    assert house.herald._calls == {}, "nothing is kept of it"


async def test_a_call_without_a_media_stream_takes_nothing(house: House) -> None:
    assert house.herald.say("CA9", "Hello.", mode="ask", interrupt=True, by="shop") is None
    assert house.herald._calls == {}


async def test_the_end_of_a_call_ends_every_wait(house: House) -> None:
    first, second, elsewhere = house.say(), house.say(), house.say("CA2")
    house.herald.note(CALL, entries.CallEnded("hangup", "completed", 1000))
    assert [await first.ended, await second.ended] == [Said("call_ended")] * 2
    assert not elsewhere.ended.done()


async def test_what_a_call_never_took_is_forgotten(house: House) -> None:
    saying = house.herald.say("CA1", "Hello.", mode="speak", interrupt=False, by="shop")
    assert saying is not None
    assert not saying.accepted.done()
    house.herald.forget("CA1", saying)
    assert (await saying.ended).outcome == "call_ended"
    house.herald.note(CALL, entries.SayingAsked(saying.saying_id, "shop", "speak", "Hello.", False))  # noqa: FBT003 - an entry
    assert house.herald._calls == {}
