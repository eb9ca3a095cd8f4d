"""preprocessing_fn modules and the helpers they share."""
