"""`emostream bench`: measures what a post costs on this machine, and sizes an installation from it.

The pure parts are `sizing`, `steady` and `posts`; the others start processes and ask servers.
"""
