"""S3: buckets and objects, conditional writes, uploads and downloads of files."""
