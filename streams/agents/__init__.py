"""The work of each agent, apart from Faust: a stage takes a batch and returns when its output is confirmed."""
