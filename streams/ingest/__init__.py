"""Reads posts from files, standard input and networks, makes records of posts, and sends them to Kafka.

The formats are JSON lines, JSON arrays, CSV, TSV, text with a post a line, and Parquet.

streams      what reading needs of a file
compression  compressed bytes -> bytes
encodings    bytes in any encoding -> UTF-8
lines        bytes -> numbered lines of bounded length
documents    JSON lines and arrays -> objects
parquet      Parquet -> objects
tables       lines -> records of CSV and TSV
layout       the delimiter, the header and the column of each field
rows         fields -> Row | Refusal
reading      an input -> Row | Refusal, in any format
posts        Row -> Post | Refusal
from_source  the post of a network -> Post
authors      what stands in a post as its author
tally        counts the refusals
rounds       an input -> its posts, in one round or several
produce      Post -> the raw topic; waits until Kafka has confirmed each post
keywords/    the live set of keywords, and finding them in posts
sources/     runs networks and feeds
shaped/      the sources of topics, files and webhooks
"""
