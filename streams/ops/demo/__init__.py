"""The demo: runs the whole application on this machine on a few hundred posts, and audits the result."""
