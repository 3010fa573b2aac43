"""The systems that `bench_systems.py` compares ours with: one file each, started as a process of its own.

Each is written the way its own documentation shows; where that page has a way to hand a model many posts at once, it is
used, and named. All have the same model, threads and librdkafka settings, and write id, label and confidence. The
frameworks run twice: with the model called on posts as they come, and through `models.classifier`. None of them writes
scores, sentiment, origin or text, keeps windows or serves metrics, as ours does meanwhile.
"""
