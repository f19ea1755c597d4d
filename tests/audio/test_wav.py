import wave
from pathlib import Path

import numpy as np
import pytest

from voice_gateway.audio import wav

NOISE = np.random.default_rng(1).integers(-32768, 32768, (300, 2)).astype(np.int16)


def test_one_channel_comes_back_as_it_was(tmp_path: Path) -> None:
    wav.write(tmp_path / "mono.wav", NOISE[:, 0], 8000)
    samples, rate_hz = wav.read(str(tmp_path / "mono.wav"))
    assert rate_hz == 8000
    assert samples.shape == (300,)
    assert samples.dtype == np.int16
    assert (samples == NOISE[:, 0]).all()


def test_two_channels_come_back_side_by_side(tmp_path: Path) -> None:
    wav.write(tmp_path / "stereo.wav", NOISE, 24_000)
    samples, rate_hz = wav.read(tmp_path / "stereo.wav")
    assert rate_hz == 24_000
    assert (samples == NOISE).all()


def test_the_samples_are_one_s_own_to_change(tmp_path: Path) -> None:
    wav.write(tmp_path / "mono.wav", NOISE[:, 0], 8000)
    samples, _ = wav.read(tmp_path / "mono.wav")
    samples[0] = 7
    assert samples[0] == 7


def test_a_file_that_is_no_wav_says_what_to_do(tmp_path: Path) -> None:
    for content in (b"", b"ID3 this is another kind of file"):
        (tmp_path / "song.wav").write_bytes(content)
        with pytest.raises(ValueError, match=r"song\.wav is not a WAV file .* convert it to 16-bit PCM"):
            wav.read(tmp_path / "song.wav")


def test_samples_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "deep.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(3)
        sound.setframerate(8000)
        sound.writeframes(bytes(30))
    with pytest.raises(ValueError, match="24-bit samples; convert it to 16-bit PCM"):
        wav.read(tmp_path / "deep.wav")


def test_a_file_cut_short_gives_what_is_there(tmp_path: Path) -> None:
    wav.write(tmp_path / "stereo.wav", NOISE, 24_000)
    whole = (tmp_path / "stereo.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:-5])
    samples, _ = wav.read(tmp_path / "cut.wav")
    assert (samples == NOISE[:298]).all()


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        wav.read(tmp_path / "nowhere.wav")
