"""`noria init`: a project drafted from a table."""
