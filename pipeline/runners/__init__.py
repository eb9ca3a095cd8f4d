"""Where the pipeline runs: in this process on Beam, or task by task on Kubeflow Pipelines."""
