"""The environments of a schema: the label is expected in training and absent in serving."""

TRAINING = "TRAINING"
SERVING = "SERVING"
