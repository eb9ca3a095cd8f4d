"""`python -m noria.pipeline.config > docs/config.md` writes the page that documents every key."""

import sys

from noria.pipeline.config.docs import documentation

sys.stdout.write(documentation())
