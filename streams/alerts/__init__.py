"""Alerts: rules over the emotion windows, the incidents that they find, and the delivery of both.

rule        what a rule is
measure     readings of windows, and the value that a rule measures
condition   the limits of a condition, given what is usual
baseline    which hours tell what is usual, and what they tell
statistics  intervals, robust spreads, and log-odds
series      the state of one series, and its decisions
size_index  the rules by window size and keyword, and what is known of their series
engine      all series: which windows they need, and what they decide
evidence    the words and the posts that moved a value
words       the words of a text, in any language
summary     sentences that say what happened
"""
