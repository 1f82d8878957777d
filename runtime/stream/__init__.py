"""Frames of a camera or a video: where they come from, and answers that do not flicker."""

from runtime.stream.stream import NONE, Steady, Stream

__all__ = ["NONE", "Steady", "Stream"]
