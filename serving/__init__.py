"""Serving: published versions answer TF Serving's protocol, from processes that are replaced without a lost request."""
