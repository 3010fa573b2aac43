"""The live evaluation: reads the windows topic, hands windows to the engine, and writes what it decides.

intake     reads the windows topic in rounds
held       which final windows are ready to be decided
tables     what the evaluation reads from Redis
deciding   hands windows to the engine in the right order
progress   the transaction that writes decisions and positions
evaluator  one round after the other
metrics    the Prometheus metrics
"""
