"""What a model says is shown on a terminal without commands for it."""

from __future__ import annotations

import pytest

from crystalline.cli.output import harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("a\x1b[2Jb", "a?[2Jb"),
        ("\x00\x07\r\x7f\x9b", "?????"),
        ("\u202eabc\u2066", "?abc?"),
        ("日本\u3000語 \u200d\u200c\u00a0 é 👩\u200d💻", "日本\u3000語 \u200d\u200c\u00a0 é 👩\u200d💻"),
    ],
)
def test_commands_are_replaced_and_words_are_not(text: str, shown: str) -> None:
    assert harmless(text) == shown
