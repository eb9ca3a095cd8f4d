"""`python -m noria.pipeline`: the command line, where the program `noria` is not on the PATH."""

from noria.pipeline.cli.app import main

if __name__ == "__main__":
    main()
