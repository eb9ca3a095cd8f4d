"""Kubeflow Pipelines without a cluster: `backend.Backend` runs a compiled package task by task."""
