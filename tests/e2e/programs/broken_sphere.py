"""`crystalline`, in which sphere 1 fails whatever it is asked to compute."""

from __future__ import annotations

from typing import Any

from crystalline.cli import main
from crystalline.training.sphere import Sphere

whole = Sphere._usage


def broken(sphere: Sphere, *values: Any) -> Any:
    if sphere._index == 1:
        raise ValueError("burnt out")
    return whole(sphere, *values)


Sphere._usage = broken  # type: ignore[method-assign,assignment]  # that is what breaks

if __name__ == "__main__":
    main()
