"""The JSON of a network, or the row of a data set -> an event. Also used for files and foreign topics. Pure.

registry       the shapes by their names
jetstream      Bluesky, as Jetstream sends it
mastodon       a status of Mastodon's API
twitter        tweets of the API 1.1 and 2 of X
pushshift      comments and submissions in dumps of Reddit
sentiment140   rows of the data set of this name
mapping        JSON of any shape, with a JMESPath expression for each field
fields         the fields of a post -> their types
values         strings, ids and hashtags of JSON
times          the forms of times in exports and APIs -> aware datetimes
zones          names of time zones, and local times
markup         HTML and character references -> text
"""
