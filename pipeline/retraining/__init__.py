"""Whether a change of code, settings or data asks for a new model."""
