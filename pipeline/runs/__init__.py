"""A run: one span's pass through the pipeline, from the ingestion before it to the report behind it."""
