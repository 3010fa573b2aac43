"""Runs sources: reads posts from networks and feeds, and writes them to the raw topic.

kinds      the sources that there are, and how each is opened
config     which sources a process runs: arguments and sources.toml
posts      a source's post -> a raw post. Pure
keywords   which keywords a post has, and whether it is kept. Pure
backoff    how long to wait after an error. Pure
rate       how many posts a second there were lately. Pure
sent       the ids of the posts that are in the raw topic already
positions  the stored position of an instance, and its gaps
history    the offsets of the raw topic a while ago. Pure
intake     events -> records of the raw topic. No I/O
pump       one connection: events -> raw topic -> position
session    takes an instance over from its former process
members    the processes of an instance, and the group of its lease
instance   one instance of a source: its lease, its position, its reconnects
run        all sources of a process
metrics    what is counted, and the report that is stored with a position
web        serves the metrics
status     what each source does, for `emostream sources`
forget     removes the position of an instance
"""
