"""Decides from windows and rules which incidents begin and end. Pure.

measure     readings of windows, and the value that a rule measures
condition   the limits of a condition, given what is usual
baseline    which hours tell what is usual, and what they tell
statistics  intervals, robust spreads, and log-odds
series      the state of one series, and its decisions
size_index  the rules by window size and keyword, and what is known of their series
engine      all series: which windows they need, and what they decide
summary     sentences that say what happened
"""
