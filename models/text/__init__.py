"""Text classifiers: normalisation, tokenisation, micro-batches, and networks on ONNX Runtime."""
