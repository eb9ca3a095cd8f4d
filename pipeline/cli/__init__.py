"""The command line: one file for a command. `app.py` puts them together."""
