"""What tools have in common: the tables, or a sentence for the model when there are none."""

from __future__ import annotations

from voice_gateway.agent.tools import ToolContext, ToolFailed
from voice_gateway.store.tables import Tables


def tables(context: ToolContext) -> Tables:
    """The tables of this call. Raises `ToolFailed` where it has none."""
    if context.tables is None:
        raise ToolFailed("The records are not at hand at the moment. Do without them, and say so.")
    return context.tables
