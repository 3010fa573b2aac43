"""The model package: a folder of files, and the manifest that describes them."""
