"""scikit-learn's MLPClassifier and MLPRegressor on gpubp's engine.

Names, parameters and defaults are those of scikit-learn. So are initial weights, the order of the rows,
updates, losses, stopping rules and printed lines. The parameters after scikit-learn's own are gpubp's.

In float64 both libraries compute the same numbers, to rounding. With sgd and adam, losses, scores and
predictions agree to eleven digits after dozens of epochs. With lbfgs they agree to seven digits after a
dozen iterations: its line searches multiply differences in rounding, so after hundreds of iterations they
may be others. What is different:

- Training uses float32, or the dtype of X with dtype=None, as scikit-learn does. lbfgs never uses less than
  the dtype of X.
- Cross-entropy is computed from z. scikit-learn clips probabilities to the range from ε to 1 - ε, which
  changes the loss of outputs that have saturated.
- Training ends when the loss is no longer finite. Without early stopping it raises a DivergenceError, which
  is a ValueError. scikit-learn goes on to max_iter, and then raises a ValueError if its parameters are not
  finite.
- With warm_start and early stopping, a fit that does not reach the best score of earlier fits returns to
  the parameters of that score. scikit-learn returns those of the last epoch.
"""

from .classifier import MLPClassifier
from .display import LossCurveDisplay
from .regressor import MLPRegressor

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor"]
