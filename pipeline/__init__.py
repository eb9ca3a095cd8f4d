"""The pipeline: config, the DAG, runners, the command line."""
