"""`python -m gpubp` runs the command `gpubp`."""

from .cli import main

raise SystemExit(main())
