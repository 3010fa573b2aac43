"""The demonstration: the whole application on this machine, on a few hundred posts, with an audit at the end."""
