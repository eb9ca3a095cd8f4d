"""Learning under drift: streams of known drift, references, and what the product makes of them."""
