"""Reads posts from files, standard input and networks, and sends them to Kafka.

The formats are JSON lines, CSV, TSV and text with a post a line.

lines    bytes -> numbered lines of bounded length
tables   lines -> records of CSV and TSV, and the column of each field
reading  lines -> Row | Refusal, in any format
posts    Row -> Post | Refusal
tally    counts the refusals
rounds   an input -> its posts, in one round or several
produce  Post -> the raw topic; waits until Kafka has confirmed each post
sources/ runs networks and feeds
"""
