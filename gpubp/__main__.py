"""python -m gpubp: the command `gpubp`."""

from .cli import main

raise SystemExit(main())
