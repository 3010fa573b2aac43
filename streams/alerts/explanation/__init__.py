"""Why the value of an incident moved: the words and the posts of its time."""
