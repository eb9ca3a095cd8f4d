"""Streams that drift: is a published version ever worse than a guess, and how far is it from the best in hindsight?"""
