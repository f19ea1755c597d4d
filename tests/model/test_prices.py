"""The price list as people write it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from voice_gateway.call.usage import Usage
from voice_gateway.model.prices import PriceError, load_prices

TODAY = date(2026, 11, 21)
PRICES = "text_in = 4\ntext_cached = 0.4\ntext_out = 24\naudio_in = {audio_in}\naudio_cached = 0.4\naudio_out = 64\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text)
    return path


def test_the_list_that_comes_with_the_program_knows_the_models_that_are_offered() -> None:
    prices = load_prices()
    for model in ("gpt-realtime-2.1", "gpt-realtime-2", "gpt-realtime-1.5", "gpt-realtime-2.1-mini"):
        assert prices.tariff(model, TODAY) is not None
    assert prices.transcription_usd_per_minute("gpt-realtime-whisper", TODAY) == 0.017
    mini = prices.tariff("gpt-realtime-2.1-mini", TODAY)
    assert mini is not None
    assert mini.cost(Usage(input_audio=1_000_000)) == 10.0


def test_text_models_have_prices_of_their_own() -> None:
    prices = load_prices()
    mini = prices.text_tariff("gpt-5.4-mini-2026-03-17", TODAY)
    assert mini is not None
    million = 1_000_000
    assert mini.cost(Usage(input_text=million, cached_text=million, output_text=million)) == pytest.approx(4.575)
    assert mini.book == "built-in 2026-11-01"
    assert prices.text_tariff("gpt-realtime-2.1", TODAY) is None
    assert prices.tariff("gpt-5.4-mini", TODAY) is None


def test_a_dated_snapshot_costs_what_its_model_costs() -> None:
    prices = load_prices()
    assert prices.tariff("gpt-realtime-2.1-2026-10-01", TODAY) == prices.tariff("gpt-realtime-2.1", TODAY)
    assert prices.tariff("gpt-realtime-2.1-mini-2026-10-01", TODAY) == prices.tariff("gpt-realtime-2.1-mini", TODAY)
    assert prices.tariff("gpt-realtime-2.1-maxi", TODAY) is None
    assert prices.tariff("somebody-elses-model", TODAY) is None


def test_the_newest_price_that_has_begun_counts(tmp_path: Path) -> None:
    head = '[[model]]\nnames = ["m"]\nsince = {since}\n'
    text = "".join(
        head.format(since=since) + PRICES.format(audio_in=audio_in)
        for since, audio_in in (("2026-12-01", 30), ("2026-01-01", 40), ("2026-06-01", 32))
    )
    prices = load_prices(written(tmp_path, text))
    found = {day: prices.tariff("m", day) for day in (date(2025, 12, 31), date(2026, 3, 1), TODAY, date(2026, 12, 1))}
    assert [tariff and tariff.audio_in for tariff in found.values()] == [None, 40, 32, 30]
    assert [tariff and tariff.book for tariff in found.values()] == [
        None, "prices.toml 2026-01-01", "prices.toml 2026-06-01", "prices.toml 2026-12-01",
    ]  # fmt: skip
    built_in = load_prices().tariff("gpt-realtime-2.1", TODAY)
    assert built_in is not None
    assert built_in.book == "built-in 2026-11-01"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[line", "cannot be read as TOML"),
        ("number = " + "9" * 5000, "cannot be read as TOML"),
        ("[line]\ninbound_usd_per_minute = -1\n", "line.inbound_usd_per_minute"),
        ("[line]\ninbound = 1\n", "line.inbound: Extra inputs"),
        ('[[model]]\nnames = ["m"]\nsince = 2026-01-01\n', "model[1].text_in: Field required"),
        (
            '[[model]]\nnames = ["m"]\nsince = "soon"\n' + PRICES.format(audio_in=1),
            "model[1].since",
        ),
        (
            '[[model]]\nnames = ["m"]\nsince = 2026-01-01\n' + PRICES.format(audio_in='"32"'),
            "model[1].audio_in",
        ),
        (
            '[[model]]\nnames = ["m"]\nsince = 2026-01-01\n' + PRICES.format(audio_in="nan"),
            "cannot be used",
        ),
    ],
)
def test_a_mistake_is_told_with_file_and_field(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(PriceError) as told:
        load_prices(path)
    assert str(path) in str(told.value)
    if said != "cannot be used":
        assert said in str(told.value)


def test_a_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match=r"nowhere\.toml"):
        load_prices(tmp_path / "nowhere.toml")
