"""Answers what people feel about a keyword, from a cache, the window tables, the history, or posts that it fetches."""
