"""The environments of a schema: data for training have the label, data for serving do not."""

TRAINING = "TRAINING"
SERVING = "SERVING"
