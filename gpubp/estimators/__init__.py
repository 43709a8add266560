"""scikit-learn's MLPClassifier and MLPRegressor on gpubp's engine.

Names, parameters, defaults, initial weights and stopping rules are scikit-learn's; `backend`, `dtype`
and `dropout` are gpubp's own. Where the two differ:

- Momentum is v ← μ v + g, θ ← θ - η v. scikit-learn keeps η v, which is the same as long as η does
  not change.
- Adam's ε is added to √(v / c2), as in the paper; scikit-learn adds it to √v.
- The penalty of every batch is ½ alpha ‖w‖² / batch_size, also of an epoch's last, smaller one; with
  sample weights, batch_size times their mean over all rows.
- The loss of several outputs is their sum. Both libraries minimise that, though scikit-learn reports
  the mean of squared errors. The Poisson loss leaves out what depends on y alone.
- Training is in float32 unless dtype="float64" says otherwise; lbfgs always computes in float64.
"""

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
