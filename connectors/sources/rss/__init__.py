"""RSS and Atom feeds.

source     fetches feeds, each at its interval, and yields their new and edited entries
parsing    parses in a process of its own, which ends if a document takes too long
parse      bytes of a feed -> entries; the only module that knows feedparser
identity   which entry of a feed is which one that was seen before. Pure
schedule   when a feed is fetched again. Pure
state      what is remembered of each feed, and the cursor. Pure
"""

from connectors.sources.rss.source import RssOptions, RssSource

__all__ = ["RssOptions", "RssSource"]
