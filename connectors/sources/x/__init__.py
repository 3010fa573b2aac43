"""X (Twitter), by its API 2.

source     the filtered stream, its rules, and what came during an interruption
following  keeps the rules of the stream equal to the keywords
recovery   fetches the posts of an interruption by the search
api        the requests of the API
problems   what the API says when it refuses -> errors. Pure
rules      keywords -> rules and queries. Pure
posts      posts of the API -> events, each once. Pure
cursor     the times that were received, and the cursor. Pure
"""

from connectors.sources.x.source import XOptions, XSource

__all__ = ["XOptions", "XSource"]
