"""The model package: a manifest, and the folder whose files it describes."""
