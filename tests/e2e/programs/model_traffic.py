"""Uses a models folder until a line comes in on standard input; for tests of what others see meanwhile.

    python model_traffic.py import MODELS SOURCE NAME        says what it does, a line each; ends by itself
    python model_traffic.py read MODELS NAME                 opens NAME again and again, with a claim
    python model_traffic.py open MODELS NAME                 the same by its path, without a claim
    python model_traffic.py change MODELS SOURCE OTHER NAME  removes NAME, imports another, renames it

The last three say "at it" when they have begun. Readers print at the end how often there was a whole model,
how often none, and how often a mixture; `change` prints how often it changed.
"""

from __future__ import annotations

import itertools
import select
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from crystalline.errors import ModelFolderError
from crystalline.model import weights_sha256
from crystalline.model.opening import open_model
from crystalline.models import Store, import_model, read_record, reading_model, resolve_model


def asked_to_stop() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def say(line: object) -> None:
    print(line, flush=True)


def take_in(models: str, source: str, name: str) -> None:
    import_model(Store(Path(models)), Path(source), name, lambda doing, _: say(doing))


def read(models: str, name: str, *, claimed: bool) -> None:
    seen: Counter[str] = Counter()
    say("at it")
    while not asked_to_stop():
        try:
            if claimed:
                with reading_model(name, Path(models)) as place:
                    seen[state(place)] += 1
            else:
                seen[state(resolve_model(name, Path(models)))] += 1
        except ModelFolderError as error:
            # With a claim a model is there or it is not; without one it may go while it is being opened.
            if claimed and "there is no model" not in str(error):
                raise
            seen["missing"] += 1
    say(f"{seen['whole']} {seen['missing']} {seen['mixed']}")


def state(place: Path) -> str:
    record, model = read_record(place), open_model(place)
    return "whole" if record.weights_sha256 == weights_sha256(model.flat) else "mixed"


def change(models: str, source: str, other: str, name: str) -> None:
    store, changes = Store(Path(models)), 0
    say("at it")
    for turn in itertools.count():
        if asked_to_stop() and turn >= 4:
            break
        with suppress(ModelFolderError):
            store.remove(name)
        import_model(store, Path((other, source)[turn % 2]), "fresh")
        store.rename("fresh", name)
        changes += 1
    say(changes)


def main() -> None:
    doing, *words = sys.argv[1:]
    match doing:
        case "import":
            take_in(*words)
        case "change":
            change(*words)
        case _:
            read(*words, claimed=doing == "read")


if __name__ == "__main__":
    main()
