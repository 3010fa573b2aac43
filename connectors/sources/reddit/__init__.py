"""Reddit.

source     the listings of subreddits, read again and again
reader     what is new in one listing
heads      where each listing was read last, and the cursor. Pure
items      the JSON of a listing -> items and events. Pure
search     the search
api        pages of listings: OAuth, rate limits and failures
requestor  the requests of asyncprawcore, sent by the guarded client
"""

from connectors.sources.reddit.api import Credentials
from connectors.sources.reddit.source import RedditOptions, RedditSource

__all__ = ["Credentials", "RedditOptions", "RedditSource"]
