"""The model's side of the Realtime API in a box: the protocol's rules without a clock, and a server around them.

Written from the protocol's reference alone. `RealtimeServer` is for whoever wants a far side on a socket;
`RealtimeSession` for whoever wants its rules without one.
"""

from __future__ import annotations

from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.realtime_items import Item
from voice_gateway.emulator.realtime_reply import INSTANT, Latency
from voice_gateway.emulator.realtime_server import RealtimeServer
from voice_gateway.emulator.realtime_session import RealtimeSession
from voice_gateway.emulator.realtime_stage import Hear, Profile, Speak, Think

__all__ = [
    "INSTANT",
    "Faults",
    "Hear",
    "Item",
    "Latency",
    "Profile",
    "RealtimeServer",
    "RealtimeSession",
    "Speak",
    "Think",
]
