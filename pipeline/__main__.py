"""`python -m noria.pipeline` is the command `noria`."""

from noria.pipeline.cli.app import main

main()
