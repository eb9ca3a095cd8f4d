"""The TFX components, one folder each: component.py has inputs and outputs, executor.py the work, other files the
maths."""
