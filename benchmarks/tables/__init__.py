"""The default model on public tables, against gradient boosting and linear models."""
