"""Mastodon.

source     the streams of timelines, and what came while they were interrupted
timelines  the HTTP API: pages of a timeline, and the address of its stream
heads      the newest status of each timeline, and the cursor. Pure
"""

from connectors.sources.mastodon.source import MastodonOptions, MastodonSource

__all__ = ["MastodonOptions", "MastodonSource"]
