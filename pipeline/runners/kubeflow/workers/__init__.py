"""Training in several pods: a TrainJob of Kubeflow Trainer, made and followed by the task `Trainer`."""
