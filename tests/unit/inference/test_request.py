"""A request that cannot be met is refused when it is made, in one line that says what to choose."""

from __future__ import annotations

from typing import Any

import pytest

from crystalline.errors import SettingError
from crystalline.inference import Request


def asked(**changed: Any) -> Request:
    settings: dict[str, Any] = {"prompt": (0,), "tokens": 1}
    return Request(**(settings | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prompt": ()}, "the prompt has no tokens: give it at least one"),
        ({"prompt": (3, -2)}, "the prompt has the token id -2: ids are >= 0"),
        ({"tokens": 0}, "tokens is 0: choose a positive number"),
        ({"tokens": -1}, "tokens is -1: choose a positive number"),
        ({"seed": -1}, "seed is -1: choose a number >= 0"),
        ({"stop": ("a", "")}, "stop has an empty text: every output would end at once, leave it out"),
        ({"stop": ("a",) * 17}, "stop has 17 texts: choose at most 16"),
        ({"logprobs": -1}, "logprobs is -1: choose 0 to 20, or none"),
        ({"logprobs": 21}, "logprobs is 21: choose 0 to 20, or none"),
        ({"overflow": "wrap"}, "overflow is 'wrap': choose 'refuse' or 'slide'"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as refused:
        asked(**changed)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"seed": 2**70},
        {"stop": ("a",) * 16},
        {"logprobs": 0},
        {"logprobs": 20},
        {"overflow": "slide"},
        {"stop_ids": frozenset({0, 10**9})},
    ],
)
def test_the_edges_of_the_ranges_are_allowed(changed: dict[str, Any]) -> None:
    assert asked(**changed).prompt == (0,)
