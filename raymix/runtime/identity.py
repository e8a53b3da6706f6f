"""What a run's coordinator, actors and placement groups are called on a cluster.

It is the same from every machine that names the run's directory in the same way.
"""

import hashlib
import os
from urllib.parse import urlsplit

from raymix.storage import Storage

NAMESPACE = "raymix"
"""Ray's namespace of all coordinators."""


def run_id_of(uri: str) -> str:
    """Tells runs apart by their directories: a local path without its links, an address without its keys."""
    storage = Storage.at(uri)
    query = urlsplit(storage.uri).query  # an endpoint, say
    place = os.path.realpath(storage.uri) if storage.is_local else f"{storage.where()}{query and f'?{query}'}"
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def name_of(run_id: str, *part: str) -> str:
    """The coordinator's, or that of a part of the run: an actor or a placement group."""
    return "-".join(("raymix", run_id, *part))


def prefix_of(run_id: str) -> str:
    """What the names of a run's parts begin with."""
    return f"{name_of(run_id)}-"
