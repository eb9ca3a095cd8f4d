"""What must survive: the span store and the model registry. Never imports TFX or TensorFlow."""
