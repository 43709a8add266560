"""The estimators' table: gpubp's MLPs beside scikit-learn's, with the same data, parameters and epochs."""
