"""The worker: a Faust application that classifies posts, counts them into windows, and publishes the windows.

decode, predictions            a message -> a post -> a prediction -> a record (pure)
classify, aggregate            the stages: each takes a batch and returns when its output is confirmed
batches                        what becomes of a batch that fails, and how two of them overlap
positions                      where each stage resumes
emitter, totals                publish changed windows, and the running totals
model_watch                    follows the model's channel
app, worker                    the Faust app, and the process that runs it
"""
