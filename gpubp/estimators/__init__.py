"""scikit-learn's MLPClassifier and MLPRegressor on gpubp's engine.

Names, parameters, defaults, initial weights and stopping rules are those of scikit-learn. The parameters
after scikit-learn's own are gpubp's. The two libraries differ in five points:

- Momentum is v ← μ v + g, θ ← θ - η v. scikit-learn stores η v, which gives the same result as long as η
does
  not change.
- Adam's ε is added to √(v / c2), as in the paper. scikit-learn adds it to √v.
- The penalty of every batch is ½ alpha ‖w‖² / batch_size, also for the last, smaller batch of an epoch.
With
  sample weights, batch_size is multiplied by the mean weight of all rows.
- The loss of several outputs is the sum of their losses. Both libraries minimise this sum, but scikit-learn
  reports the mean of squared errors. The Poisson loss omits the terms that depend only on y.
- Training uses float32, or the dtype of X with dtype=None, as scikit-learn does. lbfgs always computes in
  float64.
"""

from .classifier import MLPClassifier
from .display import LossCurveDisplay
from .regressor import MLPRegressor

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor"]
