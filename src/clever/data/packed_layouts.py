"""Check from the names of folders and files alone whether a folder contains a data set as its authors packed it."""

from __future__ import annotations

from pathlib import Path

CUB_FOLDER = "CUB_200_2011"
"""The folder that the archive of CUB-200-2011 contains."""

CUB_IMAGES = "images.txt"
"""CUB's list of images, in its folder."""


def misplaced(folder: str, root: Path) -> str | None:
    """One line if ``root``, an existing folder, does not contain ``folder``; None if it does."""
    if (root / folder).is_dir():
        return None
    if (root.parent / folder).is_dir() and root.name == Path(folder).parts[0]:
        return f"{root}: `root` must be the folder that contains {folder}; set it to {root.parent}"
    below = next((entry for entry in sorted(root.iterdir()) if (entry / folder).is_dir()), None)
    if below is not None:
        return f"{root}: has no folder {folder}, but {below.name} in it has; set `root` to {below}"
    return f"{root}: has no folder {folder}, where torchvision expects the data set; unpack it there"


def lacking_cub(root: Path) -> str | None:
    """One line if ``root``, an existing folder, does not contain CUB in its authors' layout."""
    if (root / CUB_FOLDER / CUB_IMAGES).is_file():
        return None
    if (root / CUB_IMAGES).is_file():
        return f"{root}: `root` must be the folder that contains {CUB_FOLDER}; set it to {root.parent}"
    folders = " (images in train/<class> and val/<class> are source image_folder)" if (root / "train").is_dir() else ""
    return f"{root}: has no {CUB_FOLDER}/{CUB_IMAGES}; unpack {CUB_FOLDER}.tgz there{folders}"
