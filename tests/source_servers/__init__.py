"""Local servers that speak the protocols of networks over sockets, and misbehave when a test says so."""
