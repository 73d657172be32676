"""`crystalline vocab`: the group."""

from __future__ import annotations

import typer  # noqa: TC002  (read at run time)

from crystalline.cli.output import put_out

__all__ = ["vocab"]


def vocab(ctx: typer.Context) -> None:
    """Learn a vocabulary of tokens, or look at one.

    A tokenizer cuts text into the pieces that a model reads and writes. `crystalline train` learns one by
    itself; here it can be had without a model.
    """
    if ctx.invoked_subcommand is None:
        put_out(ctx.get_help())
