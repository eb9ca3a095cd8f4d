"""Private names of TFX's libraries, one module for each library. Nothing else in Noria uses such names.

docs/internals.md lists every name, its purpose, and the test that compares it with the library's public way. Where the
two lanes differ, the module of the library hides the difference.
"""
