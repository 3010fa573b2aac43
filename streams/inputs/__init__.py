"""Reads posts from files and standard input: JSON lines, CSV, TSV, or a post a line. Knows nothing of Kafka.

lines    bytes -> numbered lines of bounded length
tables   lines -> records of CSV and TSV, and which column is which field
reading  lines -> Row | Refusal, in any format
posts    Row -> Post | Refusal
tally    what was refused, counted
"""

from streams.inputs.lines import STDIN, LineReader, open_lines, size_of
from streams.inputs.posts import PostMaker
from streams.inputs.reading import InputSpec, guess_format, read_rows
from streams.inputs.rows import FIELDS, InputFormat, Refusal, RefusalReason, Row
from streams.inputs.tally import Tally

__all__ = [
    "FIELDS",
    "STDIN",
    "InputFormat",
    "InputSpec",
    "LineReader",
    "PostMaker",
    "Refusal",
    "RefusalReason",
    "Row",
    "Tally",
    "guess_format",
    "open_lines",
    "read_rows",
    "size_of",
]
