"""Fetches the files of known data sets, from torchvision's lists of addresses and checksums.

torchvision's data set classes are not built: some of them unpickle what they fetched.
"""

import os
import socket
import tempfile
from pathlib import Path
from typing import NamedTuple

from raymix.data.faults import reason_of
from raymix.errors import DataError

_SILENCE_S = 30.0
_CIFAR10 = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")


class _Remote(NamedTuple):
    urls: list[str]
    """Mirrors, tried in this order."""
    file: str
    md5: str


def download(name: str, folder: Path, wanted: str) -> None:
    """Put the files of a known data set into `folder`; `wanted` tells the reader of an error what to put there.

    Raises `DataError` if they cannot be fetched. Files appear whole or not at all, so that processes may do it at once.
    """
    todo = f"put {wanted} there, or name the folder that has them with data.dir"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            for remote in _remotes(name):
                _fetch(remote, Path(scratch))
            for path in sorted(Path(scratch).iterdir(), key=_publishing_order):
                _publish(path, folder / path.name)
    except Exception as error:  # whatever the network, the disk or torchvision raises
        what = f"{name} is not here and cannot be downloaded ({reason_of(error)})"
        raise DataError(what, str(folder), todo) from error


def _remotes(name: str) -> list[_Remote]:
    from torchvision import datasets  # loads torch: only here

    if name == "cifar10":
        return [_Remote([_CIFAR10[0]], "cifar-10-binary.tar.gz", _CIFAR10[1])]
    if name == "omniglot":
        url = f"{datasets.Omniglot.download_url_prefix}/images_background.zip"
        return [_Remote([url], "images_background.zip", datasets.Omniglot.zips_md5["images_background"])]
    if name == "celeba":
        drive_id, md5, file = datasets.CelebA.file_list[0]
        return [_Remote([f"https://drive.google.com/file/d/{drive_id}"], file, md5)]
    listed = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST, "kmnist": datasets.KMNIST}[name]
    return [_Remote([mirror + file for mirror in listed.mirrors], file, md5) for file, md5 in listed.resources]


def _fetch(remote: _Remote, folder: Path) -> None:
    from torchvision.datasets.utils import download_url, extract_archive

    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_S)  # torchvision sets none: a silent server would hang the run
    try:
        for url in remote.urls:
            try:
                download_url(url, folder, remote.file, remote.md5)
                break
            except (OSError, RuntimeError):
                if url == remote.urls[-1]:
                    raise
    finally:
        socket.setdefaulttimeout(usual)
    if remote.file.endswith(".tar.gz"):
        extract_archive(folder / remote.file, folder, remove_finished=True)


def _publishing_order(path: Path) -> tuple[bool, bool]:
    """Images of training come last: another process that sees them finds the rest too."""
    return ("images" in path.name, "train" in path.name)


def _publish(source: Path, target: Path) -> None:
    if source.is_dir() and target.exists():
        return  # another process has put the same files there, checked against the same checksum
    os.replace(source, target)
