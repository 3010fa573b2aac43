"""JSON of a network -> an event. Also used for files and foreign topics. Pure."""
