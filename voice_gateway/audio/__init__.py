"""The sound itself: G.711, the two resamplers of a live call, levels and WAV files. Pure: bytes in, bytes out."""
