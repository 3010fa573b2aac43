"""Text classifiers: normalisation, tokenising, micro-batches, and networks on ONNX Runtime."""
