"""`python -m axiom` is the command line, where no program `axiom` is found."""

from __future__ import annotations

from axiom.cli import main

if __name__ == "__main__":
    main()
