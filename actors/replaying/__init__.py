"""Plays one actor's part of a recorded run again: its messages, in their order, in a plain script."""

from actors.replaying.play import replay
from actors.replaying.report import Difference, Played, Replay, ReplayDiffers

__all__ = ["Difference", "Played", "Replay", "ReplayDiffers", "replay"]
