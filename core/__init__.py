"""What all other folders use: atomic files, digests, errors, locks, periods, settings. Imports nothing of Noria."""
