"""S3: objects with conditional writes, resumable downloads, and errors that say what to do."""
