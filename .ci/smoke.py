"""Use the installed package once, as a user would: it trains, and knows its version.

python .ci/smoke.py            # with the Python of the environment to try, outside the checkout
python .ci/smoke.py 0.2.0      # and it is this version
"""

from __future__ import annotations

import sys
from importlib import metadata

import numpy as np

import gpubp


def main(*expected: str) -> None:
    """Train a network; the first fault ends the script."""
    if "site-packages" not in (gpubp.__file__ or ""):
        raise SystemExit(f"gpubp comes from {gpubp.__file__}, expected an installed package")
    versions = {gpubp.__version__, metadata.version("gpubp"), *expected}
    if len(versions) > 1:
        raise SystemExit(f"gpubp has the versions {sorted(versions)}, expected one")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = (np.eye(3)[y] + 0.1 * rng.standard_normal((300, 3))).astype(np.float32)
    network = gpubp.Network((3, 16, 3), output="softmax", backend="numpy", seed=0)
    trainer = gpubp.Trainer(network, gpubp.Adam(learning_rate=1e-2), batch_size=32, seed=0)
    cost = trainer.fit(x, y, epochs=20).cost
    if not cost[-1] < 0.2 * cost[0]:
        raise SystemExit(f"the cost fell from {cost[0]:.3f} to {cost[-1]:.3f}, expected a fifth")
    print(f"gpubp {gpubp.__version__}: the cost fell from {cost[0]:.3f} to {cost[-1]:.3f}")
    print(network.backend.device)


if __name__ == "__main__":
    main(*sys.argv[1:])
