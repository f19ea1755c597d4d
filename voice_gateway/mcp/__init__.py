"""The Model Context Protocol, both ways: our tools for other programs, and other programs' tools for our personas.

The package `mcp` costs 26 MB and half a second; it is imported where a door is open or a server is named, nowhere else.
"""
