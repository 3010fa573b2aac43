"""Models: the classifier, the model package and its S3 registry, training."""
