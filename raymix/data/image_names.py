"""Which files are images: told by their names where these are well known, by how they begin where they are not."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from os.path import splitext

from PIL import Image

from raymix.data.faults import listing

_FORMATS = {  # Pillow's names, in the order in which they are tried; nothing marks TGA, so it is the last
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".pbm", ".pgm", ".ppm", ".pnm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k"),
    "QOI": (".qoi",),
    "ICO": (".ico",),
    "TGA": (".tga",),
}
SUFFIXES = tuple(suffix for suffixes in _FORMATS.values() for suffix in suffixes)
"""Files with these names are images; one that cannot be read is an error."""
HEAD_BYTES = 64
"""As many bytes tell whether a file with another name is an image."""
_DATA = (".csv", ".gz", ".idx", ".json", ".jsonl", ".npy", ".npz", ".parquet", ".pq", ".tar", ".tsv", ".yaml", ".zip")
_TEXTS = (".htm", ".html", ".log", ".md", ".pdf", ".py", ".txt", ".xml", ".yml")
_NEGATIVES = (".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".nef", ".nrw", ".pef", ".sr2", ".srw")
_OTHERS = (*_DATA, *_TEXTS, *_NEGATIVES)  # are not opened; negatives begin like TIFF, and Pillow would read previews
_SURE = {  # texts and other kinds of files begin like these formats, too
    "AVIF": rb".{4}ftyp.*avi[fs]",
    "BMP": rb"BM.{4}\0{4}",
    "ICO": rb"\0\0\x01\0[^\0]\0...\0",
    "PPM": rb"P[1-6fF]\s+[#\d]",
}


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read, and that it can read here.

    They are decoded in this process, at a cost that the size of the image bounds. Others run programs (EPS), have no
    such bound, or are no pictures of their own.
    """
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def begins_like_image(head: bytes) -> bool:
    """Whether the first `HEAD_BYTES` of a file are those of an image, as Pillow and `_SURE` know them."""
    start = head[:16].ljust(16, b"\0")
    for name in formats():
        accept = Image.OPEN[name][1]
        if accept is not None and accept(start) is True:  # a text is why Pillow cannot read the format here
            return name not in _SURE or re.match(_SURE[name], head, re.DOTALL) is not None
    return False


@dataclass(frozen=True)
class PassedOver:
    """How many files below a folder, or in an archive, are not read, and why.

    Hidden ones are not counted: systems leave them nearly everywhere (.DS_Store, .thumbnails), and a note that always
    comes is read by nobody.
    """

    others: Counter[str] = field(default_factory=Counter)
    """Files that are no images, by suffix."""
    num_empty: int = 0
    """Empty files whose names say nothing."""
    num_written: int = 0
    """Folders that raymix wrote."""
    odd: Counter[str] = field(default_factory=Counter)
    """Images by how they begin whose suffix says something else, by suffix: these are read."""

    def __add__(self, more: "PassedOver") -> "PassedOver":
        return PassedOver(
            self.others + more.others,
            self.num_empty + more.num_empty,
            self.num_written + more.num_written,
            self.odd + more.odd,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """A clause on what was passed over, and one on what counts for all its name, where there are any."""
        said, num = [], self.others.total()
        if num:
            kinds = listing(suffix or "no suffix" for suffix in sorted(self.others))
            said.append(
                f"{num} files that are no images ({kinds})" if num > 1 else f"1 file that is no image ({kinds})"
            )
        if self.num_empty:
            said.append(f"{self.num_empty} empty")
        if self.num_written:
            said.append(f"{self.num_written} folders of runs" if self.num_written > 1 else "1 folder of a run")
        counted = [f"{self.odd.total()} files count as images by how they begin ({listing(sorted(self.odd))})"]
        return (*[f"passed over: {', '.join(said)}"][: len(said)], *counted[: len(self.odd)])


def images_among(
    names: Sequence[str], heads: Callable[[Sequence[str]], Iterable[bytes]]
) -> tuple[list[str], PassedOver]:
    """The images among files, sorted, and what the others are. `heads` gives the first bytes of files whose names say
    nothing; no others are opened."""
    images, others, odd, unknown, num_empty = [], Counter[str](), Counter[str](), [], 0
    for name in names:
        suffix = splitext(name)[1].lower()
        if suffix in SUFFIXES:
            images.append(name)
        elif suffix in _OTHERS:
            others[suffix] += 1
        else:
            unknown.append(name)
    for name, head in zip(unknown, heads(unknown), strict=True):
        if begins_like_image(head):
            images.append(name)
            odd[splitext(name)[1].lower()] += 1
        elif head:
            others[splitext(name)[1].lower()] += 1
        else:
            num_empty += 1
    del odd[""]
    return sorted(images), PassedOver(others, num_empty, odd=odd)
