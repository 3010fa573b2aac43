"""Hacker News.

source   reads items by their numbers as they come, and what changes in them
absent   items that the API does not show yet, and the cursor. Pure
items    the JSON of an item -> an event. Pure
search   the search of Algolia
"""

from connectors.sources.hackernews.source import HackerNewsOptions, HackerNewsSource

__all__ = ["HackerNewsOptions", "HackerNewsSource"]
