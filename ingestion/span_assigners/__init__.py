"""Which span a row belongs to: by the period of its time, or by its offset in its source."""
