"""Events to spans: reads tables, cuts them by time, commits them to the span store. Never imports TFX."""
