"""The worker: a Faust application that classifies posts, counts them into windows, and publishes the windows.

decode, predictions            turn a message into a post, a post into a prediction, and both into a record (pure)
classify, aggregate            the stages: each processes a batch and returns when its output is confirmed
batches                        retries a batch or stops the app when a stage fails; prepares one batch during another
positions                      looks up where each stage resumes
emitter, totals                publish changed windows, and the running totals
model_watch                    polls the model's channel for new versions
app, worker                    the Faust app, and the process that runs it
"""
