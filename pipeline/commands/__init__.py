"""What the commands do; `cli.py` says what they are called and which options they take."""
