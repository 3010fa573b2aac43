"""Bluesky: the posts of Jetstream, and the search of its API.

hosts     the hosts of Jetstream, and which is tried next. Pure
cursor    from where a stream continues. Pure
frames    decompresses the frames of a server that compresses
source    `BlueskySource`
"""

from connectors.sources.bluesky.hosts import Hosts
from connectors.sources.bluesky.source import BlueskySource

__all__ = ["BlueskySource", "Hosts"]
