"""The pipeline on Kubeflow Pipelines 2.x: compiled, submitted, scheduled, and run task by task in a container."""
