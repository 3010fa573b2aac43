"""Training of the models that `models` serves. The only place that imports torch; needs the `train` extra."""
