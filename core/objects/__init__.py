"""A home in an object store: its objects, the log that says what is in it, and the working copy on this machine."""
