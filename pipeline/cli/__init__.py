"""The command line: one file for each command, with its options and what it does. `app.py` puts them together."""
