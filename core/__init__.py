"""What every other folder is built on: atomic files, errors, locks, periods. Imports nothing of Noria."""
