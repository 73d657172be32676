"""Requests and pieces arrive as they were sent."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.testing import check_message
from crystalline.inference import Piece, Request, SamplingOptions, TokenLogprob
from crystalline.inference.messages import Outcome, Stepped, order_of, piece_of, request_of, said

IDS = st.integers(0, 2**40)
LOGPROBS = st.floats(max_value=0.0, allow_nan=False)

REQUESTS = st.builds(
    Request,
    prompt=st.lists(IDS, min_size=1, max_size=5).map(tuple),
    tokens=st.integers(1, 2**40),
    options=st.builds(
        SamplingOptions,
        temperature=st.floats(0.0, 9.0),
        top_k=st.integers(0, 99),
        top_p=st.floats(0.1, 1.0),
        min_p=st.floats(0.0, 1.0),
        repetition_penalty=st.floats(0.5, 2.0),
    ),
    seed=st.integers(0, 2**63 - 1),
    stop=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), max_size=3).map(tuple),
    stop_ids=st.frozensets(IDS, max_size=3),
    logprobs=st.none() | st.integers(0, 20),
    overflow=st.sampled_from(["refuse", "slide"]),
)
PIECES = st.builds(
    Piece,
    text=st.text(st.characters(codec="utf-8"), max_size=9),
    ids=st.lists(IDS, max_size=2).map(tuple),
    logprobs=st.lists(
        st.builds(TokenLogprob, IDS, LOGPROBS, st.lists(st.tuples(IDS, LOGPROBS), max_size=3).map(tuple)),
        max_size=2,
    ).map(tuple),
)


@settings(max_examples=50, deadline=None)
@given(request=REQUESTS)
def test_a_request_arrives_as_it_was_sent(request: Request) -> None:
    assert request_of(order_of(request)) == request


@settings(max_examples=50, deadline=None)
@given(piece=PIECES)
def test_a_piece_arrives_as_it_was_sent(piece: Piece) -> None:
    assert piece_of(said(piece)) == piece


def test_they_can_travel() -> None:
    request = Request(prompt=(1, 2), tokens=3, stop=("a",), stop_ids=frozenset({4}))
    check_message(order_of(request))
    check_message(said(Piece("a", (1,), (TokenLogprob(1, -0.5, ((1, -0.5),)),))))
    check_message(Stepped((Outcome(1, drawn=1), Outcome(2, story="no"))))
