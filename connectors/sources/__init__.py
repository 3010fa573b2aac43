"""The social networks and feeds that posts come from.

events     what a source yields: posts, deletions, gaps, and events that are not posts
protocol   what a source is: a stream of events from a cursor, and perhaps a search
shapes/    JSON of a network -> post; also used for files and foreign topics. Pure
net/       the HTTP and WebSocket clients: limits, time-outs, and no private addresses

bluesky/, hackernews/, mastodon/, reddit/, rss/, x/   a source each
webhook/   the HTTP server of a source that receives posts

merging    several streams -> one
recent     a mapping that keeps the latest keys only. Pure
sse        lines -> server-sent events. Pure

A source knows nothing of the pipeline: no settings, no raw topic and no keywords of the deployment.
"""
