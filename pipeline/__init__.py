"""The wheel: config, the DAG, runners, the command line."""
