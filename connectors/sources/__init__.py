"""The social networks and feeds that posts come from.

events     what a source yields: posts, deletions, gaps, and events that are no posts
protocol   what a source is: a stream of events from a cursor, and perhaps a search
merging    several streams -> one
shapes/    JSON of a network -> post; also used for files and foreign topics. Pure

A source knows nothing of the pipeline: no settings, no raw topic and no keywords of the deployment.
"""
