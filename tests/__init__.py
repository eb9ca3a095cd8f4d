"""A regular package, because an installed library has a `tests` folder too, and it would be found first."""
