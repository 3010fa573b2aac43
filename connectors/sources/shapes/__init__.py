"""The JSON of a network -> an event. Also used for files and foreign topics. Pure.

jetstream   Bluesky, as Jetstream sends it
mastodon    a status of Mastodon's API
values      strings, ids and hashtags of JSON
times       the forms of times in exports and APIs -> aware datetimes
zones       names of time zones, and local times
markup      HTML and character references -> text
"""
