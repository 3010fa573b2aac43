"""The registry of model packages in S3: versions, channels that point to versions, and local copies."""
