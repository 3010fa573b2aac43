"""Event-time tumbling windows, and the window tables in Redis that hold them.

tumbling, post, recent         window arithmetic; the part of a post that is counted; ids of recent posts (pure)
deltas, update                 reduce posts to deltas, and deltas to one update per shard (pure)
codec                          turns a window's Redis hash into its record (pure)
parts                          divides a batch into parts that Redis applies in a short time (pure)
reader, store, connect         read and change the window tables; the Lua scripts are in lua/
top                            reads the keywords with the most posts
pacing                         decides how often a window size is published (pure)
completeness                   finds the event time from which Kafka holds all posts
rebuild                        recounts the windows while workers run
"""
