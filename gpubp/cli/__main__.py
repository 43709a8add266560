"""python -m gpubp.cli"""

from . import main

raise SystemExit(main())
