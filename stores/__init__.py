"""The span store and the model registry, which survive every run. Never imports TFX or TensorFlow."""
