"""`emostream bench`: measures what a post costs on this machine, and computes what a rate of posts needs.

`sizing`, `steady` and `posts` are pure. The other modules start processes and read from servers.
"""
