"""Reads posts from files and standard input (JSON lines, CSV, TSV, or a post a line), and sends them to Kafka.

lines    bytes -> numbered lines of bounded length
tables   lines -> records of CSV and TSV, and which column is which field
reading  lines -> Row | Refusal, in any format
posts    Row -> Post | Refusal
tally    counts the refusals
rounds   an input -> its posts, once or in several rounds
produce  Post -> the raw topic, each delivery confirmed
"""
