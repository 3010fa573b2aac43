"""An open-loop load generator for the HTTP service: `emostream stress`.

Requests leave at planned times, whatever the answers do, and a request's latency counts from its planned time. A
generator that waits for an answer before it sends the next request leaves out just the requests that would have met a
stalled server. Gil Tene named that "coordinated omission" ("How NOT to Measure Latency", 2013; wrk2).
"""
