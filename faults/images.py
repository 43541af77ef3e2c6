"""Invalid and unusual image files, in both formats of a store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from faults.bench import Bench
from faults.job import Job
from faults.row import Row, expect

SIZE = 32


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """One row for each kind of image, put among good images and stored both as pixels and as files."""
    unreadable: dict[str, tuple[Callable[[Path], None], str]] = {
        "truncated": (_truncated, "bad.jpg"),
        "no image at all": (_text, "bad.jpg (not an image in a known format)"),
        "zero bytes long": (_empty, "bad.jpg"),
        "of 12,000 x 12,000 pixels": (_bomb, "bad.png (a decompression bomb"),
        "a link to itself": (_own_link, "bad.png"),
        "a folder that links to its parent": (_parent_link, "loop (a symbolic link to a folder that contains it)"),
        "links that meet again": (_diamond, "right (the same folder as cat/left, and its images would count twice)"),
        "a pipe": (_pipe, "bad.png (not a regular file)"),
    }
    readable: dict[str, Callable[[Path], None]] = {
        "CMYK": _cmyk,
        "16-bit": _sixteen_bit,
        "of 1 x 1 pixel": _one_pixel,
        "under a wrong extension": _wrong_extension,
    }
    layouts = ("pixels", "encoded")
    refused = "named, counted and rejected if `unreadable_limit` is 0; named and left out if it is 1"
    return [
        *(
            Row(6, f"image: {kind}", refused, [partial(_bad, bench, *made, layout) for layout in layouts][:tries])
            for kind, made in unreadable.items()
        ),
        *(
            Row(6, f"image: {kind}", "read as intended", [partial(_good, bench, make, x) for x in layouts][:tries])
            for kind, make in readable.items()
        ),
    ]


def _folder(folder: Path) -> Path:
    """Write two classes of two good images each, in both splits; return the class folder for the bad image."""
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for number in range(2):
                pixels = draw.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"good{number}.png")
    return folder / "train" / "cat"


def _prepare(bench: Bench, root: Path, layout: str, limit: int, folder: Path) -> tuple[Job, Path]:
    store = folder / f"store{limit}"
    options = {"source": "image_folder", "root": str(root), "image_size": SIZE, "format": layout}
    return bench.prepare(options | {"unreadable_limit": limit}, store, folder), store


def _bad(bench: Bench, make: Callable[[Path], None], name: str, layout: str, folder: Path) -> str:
    place = _folder(folder / "photos")
    make(place)
    job, store = _prepare(bench, folder / "photos", layout, 0, folder)
    said = job.must_refuse(f"train/cat/{name}", "1 unreadable, unreadable_limit is 0")
    expect(not store.exists(), "a store was written")
    job, store = _prepare(bench, folder / "photos", layout, 1, folder)
    job.must_end(0, "left out 1 unreadable")
    train = json.loads((store / "store.json").read_text())["splits"]["train"]
    named = [f"{entry['name']} ({entry['reason']})" for entry in train["unreadable"]]
    expect(len(named) == 1 and named[0].startswith(f"train/cat/{name}"), f"store.json names {named}")
    expect(train["count"] == 4, f"{train['count']} training images instead of 4")
    return said


def _good(bench: Bench, make: Callable[[Path], None], layout: str, folder: Path) -> str:
    make(_folder(folder / "photos"))
    job, store = _prepare(bench, folder / "photos", layout, 0, folder)
    said = job.must_end(0, "5 train, 4 test images")
    from clever.data import Store

    images = Store.open(store).split("train").images(list(range(5)))
    # In ImageFolder's order the added image comes first; it is grey, at 3/4 of the range up to JPEG's rounding.
    height, width = images.sizes[0].tolist()
    pixels = images.pixels[0, :, :height, :width].float()
    expect(bool(((pixels - 191).abs() <= 3).all()), f"its pixels are {pixels.mean(dim=(1, 2)).tolist()}, not 191")
    return said


def _grey(mode: str, size: tuple[int, int] = (48, 40)) -> Image.Image:
    return Image.new("RGB", size, (191, 191, 191)).convert(mode)


def _truncated(place: Path) -> None:
    draw = np.random.default_rng(1)
    Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(place / "bad.jpg")
    content = (place / "bad.jpg").read_bytes()
    (place / "bad.jpg").write_bytes(content[: len(content) // 2])


def _text(place: Path) -> None:
    (place / "bad.jpg").write_text("This is no image.")


def _empty(place: Path) -> None:
    (place / "bad.jpg").touch()


def _bomb(place: Path) -> None:
    Image.new("L", (12_000, 12_000)).save(place / "bad.png", compress_level=1)


def _own_link(place: Path) -> None:
    (place / "bad.png").symlink_to("bad.png")


def _parent_link(place: Path) -> None:
    (place / "loop").symlink_to("..")


def _diamond(place: Path) -> None:
    (place.parent.parent / "outside").mkdir()
    (place / "left").symlink_to(place.parent.parent / "outside")
    (place / "right").symlink_to(place.parent.parent / "outside")


def _pipe(place: Path) -> None:
    os.mkfifo(place / "bad.png")


def _cmyk(place: Path) -> None:
    _grey("CMYK").save(place / "added.jpg", quality=100)


def _sixteen_bit(place: Path) -> None:
    Image.fromarray(np.full((40, 48), 191 * 257, dtype=np.uint16)).save(place / "added.png")


def _one_pixel(place: Path) -> None:
    _grey("RGB", (1, 1)).save(place / "added.png")


def _wrong_extension(place: Path) -> None:
    _grey("RGB").save(place / "added.jpg", format="PNG")
