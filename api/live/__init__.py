"""Live streams: one ring of events for a process, and one cursor for each client.

`feed` reads Kafka and puts events into the `ring`. A client has no queue of its own: `stream` asks the ring what is
newer than the client's cursor. So a slow client costs no memory, and gets the newest state when it reads again.
"""
