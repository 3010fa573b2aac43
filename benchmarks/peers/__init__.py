"""The peers: the programs that `bench_systems.py` compares emostream with, one file each, run as separate processes.

Each program follows the documentation of its framework, and names the page. If the page has a way to pass many posts to
a model at once, the program uses it. All programs have the same model, threads and librdkafka settings, and write id,
label and confidence. Frameworks that take batches run twice: with texts in the order of arrival, and with
`models.text.onnx_classifier`. None of them writes scores, sentiment, origin or text, keeps windows, or serves metrics.
Emostream does all of that in its run.
"""
