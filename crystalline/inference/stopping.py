"""Finding stop strings in a text while it comes. A state machine over characters: no tokens, no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["StopFinder"]


class StopFinder:
    """Lets a text through until one of the stop strings is complete.

    What could be the beginning of a stop string is held back until it is known. The text ends with the
    first character that completes any of them, before the longest one that ends there: how the text is cut
    into pieces makes no difference.

    Args:
        stops: none of them empty. Compared character by character, as they are.

    Attributes:
        found: whether a stop string was complete. Then nothing more comes out.

    Source: the search is that of Knuth, Morris and Pratt 1977, "Fast Pattern Matching in Strings", for
    each stop string beside the others, so that the longest of them costs no more for a character than the
    shortest.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._borders = tuple(_borders(stop) for stop in self._stops)
        self._matched = [0] * len(self._stops)  # how much of each stop string the text ends with
        self._held = ""  # the longest of these
        self.found = False

    def feed(self, text: str) -> str:
        """Take the next piece; returns what is known to be output by now."""
        if self.found:
            return ""
        if not self._stops:
            return text
        pending, read = self._held + text, len(self._held)
        for character in text:
            read += 1
            if longest := self._step(character):
                self.found, self._held = True, ""
                return pending[: read - longest]
        kept = len(pending) - max(self._matched)
        self._held = pending[kept:]
        return pending[:kept]

    def finish(self) -> str:
        """The text ends here: what was held back is output after all."""
        held, self._held = self._held, ""
        return held

    def _step(self, character: str) -> int:
        """Read a character; the length of the longest stop string it completes, or 0."""
        longest = 0
        for which, (stop, borders) in enumerate(zip(self._stops, self._borders, strict=True)):
            matched = self._matched[which]
            while matched and stop[matched] != character:
                matched = borders[matched - 1]
            matched += stop[matched] == character
            self._matched[which] = matched
            if matched == len(stop):
                longest = max(longest, matched)
        return longest


def _borders(stop: str) -> tuple[int, ...]:
    """For each beginning of a string, how much of its end is a shorter beginning of the string."""
    borders = [0] * len(stop)
    length = 0
    for index in range(1, len(stop)):
        while length and stop[length] != stop[index]:
            length = borders[length - 1]
        length += stop[length] == stop[index]
        borders[index] = length
    return tuple(borders)
