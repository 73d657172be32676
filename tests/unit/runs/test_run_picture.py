"""A plot is a whole PNG with something in it, or there is none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib.image
import numpy as np
import pytest

from crystalline.errors import OutputError, SettingError
from crystalline.runs import Curve
from crystalline.runs.picture import save_picture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FALLING = Curve("falling", (1.0, 2.0, 3.0), (3.0, 2.0, 1.0))
RISING = Curve("rising", (1.0, 2.0, 3.0), (1.0, 2.0, 3.0))
# What matplotlib gives the first two curves.
FIRST, SECOND = (31, 119, 180), (255, 127, 14)


@pytest.fixture(autouse=True)
def _own_fonts(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.getbasetemp() / "matplotlib"))


def drawn(path: Path, *curves: Curve) -> NDArray[np.uint8]:
    """The pixels of a plot, red, green and blue."""
    save_picture(path, curves, x_label="steps", y_label="loss")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = np.asarray(matplotlib.image.imread(path))
    assert pixels.shape[:2] == (600, 1080)
    found: NDArray[np.uint8] = np.rint(255 * pixels[:, :, :3]).astype(np.uint8)
    return found


def places(
    pixels: NDArray[np.uint8], colour: tuple[int, int, int]
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Rows and columns of the pixels that have a colour."""
    rows, columns = np.nonzero((pixels == np.array(colour, np.uint8)).all(axis=2))
    return rows, columns


def test_the_curve_is_where_its_points_are(tmp_path: Path) -> None:
    rows, columns = places(drawn(tmp_path / "one.png", FALLING), FIRST)
    left, right = rows[(columns > 80) & (columns < 200)], rows[columns > 1000]
    assert left.max() < 150, "high"
    assert right.max() > 450, "low"


def test_each_curve_has_a_colour(tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "two.png", FALLING, RISING)
    assert all(len(places(pixels, colour)[0]) > 500 for colour in (FIRST, SECOND))


def test_equal_curves_are_both_seen(tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "two.png", FALLING, FALLING)[200:]  # below the legend
    assert all(len(places(pixels, colour)[0]) > 100 for colour in (FIRST, SECOND))


def test_the_same_curves_make_the_same_bytes(tmp_path: Path) -> None:
    drawn(tmp_path / "one.png", FALLING)
    drawn(tmp_path / "two.png", FALLING)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize(
    "curve",
    [
        Curve(r"$\frac{$", (1.0,), (1.0,)),
        Curve("_hidden", (1.0,), (1.0,)),
        Curve("漢字\udcff", (1.0,), (1.0,)),
        Curve("gaps", (1.0, 2.0, 3.0), (1.0, math.nan, 2.0)),
        Curve("large", (1.0, 2.0), (-1e100, 1e100)),
        Curve("equal", (1.0, 1.0), (0.0, 0.0)),
    ],
    ids=["formula", "hidden", "letters", "gaps", "large", "equal"],
)
def test_any_name_and_any_points_can_be_drawn(tmp_path: Path, curve: Curve) -> None:
    assert len(places(drawn(tmp_path / "one.png", curve), FIRST)[0]) > 20


def test_a_picture_is_replaced(tmp_path: Path) -> None:
    first = drawn(tmp_path / "one.png", FALLING)
    second = drawn(tmp_path / "one.png", RISING)
    assert (first != second).any()
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]


@pytest.mark.parametrize("name", ["missing/one.png", "file/one.png", "folder.png"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=name):
        save_picture(tmp_path / name, [FALLING], x_label="steps", y_label="loss")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder.png"]


def test_a_full_disk_leaves_the_picture_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.png").write_bytes(b"before")

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        save_picture(tmp_path / "one.png", [FALLING], x_label="steps", y_label="loss")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("one.png", b"before")]


@pytest.mark.parametrize("name", ["one.pdf", "one", "one.png.txt"])
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match=r"\.png"):
        save_picture(tmp_path / name, [FALLING], x_label="steps", y_label="loss")


@pytest.mark.parametrize("curves", [[], [Curve("run", (), ())], [Curve("run", (1.0,), (math.nan,))]])
def test_nothing_is_not_drawn(tmp_path: Path, curves: list[Curve]) -> None:
    with pytest.raises(SettingError, match="no loss to plot"):
        save_picture(tmp_path / "one.png", curves, x_label="steps", y_label="loss")
    assert list(tmp_path.iterdir()) == []
