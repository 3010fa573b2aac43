"""The registry of model packages on S3: versions, channels that point to them, and local copies."""
