"""Models: the classifier protocol, model packages and their registry in S3, serving and training."""
