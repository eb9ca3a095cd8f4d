"""The TFX components, one folder each: component.py wires, executor.py works, the maths stands beside."""
