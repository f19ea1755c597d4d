"""The tools of the house, one file a subject. A persona names those it uses; see `agent/tools.py` for writing one."""

from __future__ import annotations

from voice_gateway.agent.toolbox.menu import lookup_menu, recommend_pairing
from voice_gateway.agent.tools import Toolbox


def house_toolbox() -> Toolbox:
    """All tools there are; `pick` takes those of a persona."""
    return Toolbox([lookup_menu, recommend_pairing])
