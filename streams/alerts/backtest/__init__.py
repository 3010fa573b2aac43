"""What rules would have found in the history in Postgres.

past_windows  reads the windows of the history
past_hours    keeps the hours that tell what is usual
spans         groups windows by their start, and hands them to the engine
backtest      runs rules over both
tally         counts the windows that were evaluated, and those without data
result        what was found
preview       the same for one rule and the last hours, within limits of work and of time
"""
