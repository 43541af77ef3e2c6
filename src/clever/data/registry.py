"""The sources by name."""

from __future__ import annotations

from clever import spirograph, threediebench
from clever.data.packed_layouts import lacking_cub
from clever.data.source_kind import SourceKind
from clever.data.torchvision_kind import torchvision_source

_CIFAR = "reads ``{train,test}_{images,labels}.npy`` or, without them, the official archive with torchvision"

SOURCES: dict[str, SourceKind] = {
    "digits": SourceKind(
        "clever.data.digits:read_digits",
        rootless="comes with scikit-learn",
        counts=(1437, 360),
        side=32,
        words="ships with scikit-learn and needs no download",
    ),
    "cifar10": SourceKind(
        "clever.data.cifar:read_cifar", downloads=True, counts=(50_000, 10_000), side=32, words=_CIFAR
    ),
    "cifar100": SourceKind(
        "clever.data.cifar:read_cifar", downloads=True, counts=(50_000, 10_000), side=32, words=_CIFAR
    ),
    "arrays": SourceKind(
        "clever.data.arrays:read_arrays",
        size_estimate="clever.data.store_sizes:arrays_bytes",
        words="reads ``{train,test}_{images,labels}.npy``",
    ),
    "image_folder": SourceKind(
        "clever.data.image_folder:read_image_folder",
        files=True,
        size_estimate="clever.data.store_sizes:folder_bytes",
        words="reads ``train/<class>/*`` and ``val/<class>/*`` (or "
        "``valid``, ``validation``, ``test``), and Tiny-ImageNet as downloaded",
    ),
    "spirograph": SourceKind(
        "clever.data.spirograph:read_spirograph",
        rootless="is drawn by formula",
        drawn=(spirograph.TRAIN_IMAGES, spirograph.TEST_IMAGES),
        side=32,
        latents=tuple(spirograph.NAMES),
        words="is drawn by formula and needs no download",
    ),
    "threediebench": SourceKind(
        "clever.data.threediebench:read_threediebench",
        files=True,
        latents=threediebench.NAMES,
        object_views=threediebench.VIEWS,
        words="reads ``SYNSET/OBJ/image_{0..49}.jpg`` with ``latent_{0..49}.npy``",
    ),
    "cub200": SourceKind(
        "clever.data.cub200:read_cub200",
        files=True,
        counts=(5994, 5794),
        missing=lacking_cub,
        words="reads ``CUB_200_2011`` as its authors packed it",
    ),
    # The splits are the paper's if it uses the data set, else those of the transfer literature (Kornblith et al. 2019):
    # training and validation images together, the first partition of DTD, 30 training images per class of Caltech-101,
    # and 50 training and 50 test images per class of SUN397.
    "flowers102": torchvision_source(
        "Flowers102", "flowers-102", ("train",), ("test",), counts=(1020, 6149), mean_class=True
    ),
    "food101": torchvision_source("Food101", "food-101", ("train",), ("test",), counts=(75_750, 25_250)),
    "pets": torchvision_source(
        "OxfordIIITPet", "oxford-iiit-pet", ("trainval",), ("test",), counts=(3680, 3669), mean_class=True
    ),
    "dtd": torchvision_source("DTD", "dtd/dtd", ("train", "val"), ("test",), counts=(3760, 1880)),
    "aircraft": torchvision_source(
        "FGVCAircraft", "fgvc-aircraft-2013b", ("trainval",), ("test",), counts=(6667, 3333), mean_class=True
    ),
    "cars": torchvision_source(
        "StanfordCars", "stanford_cars", ("train",), ("test",), counts=(8144, 8041), downloads=False
    ),
    "caltech101": torchvision_source("Caltech101", "caltech101", 30, counts=(3030, 5647), mean_class=True),
    "sun397": torchvision_source("SUN397", "SUN397", 50, test_images=50, counts=(19_850, 19_850)),
}
"""Every value of ``DataOptions.source``, with its reader and its facts."""
