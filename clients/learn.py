"""scikit-learn with n_jobs, and pandas' frames through a pool."""

import os

import numpy as np
import pandas as pd
from contexts import CONTEXTS
from joblib import Parallel, delayed, parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score


def by_group(frame):
    return frame.groupby("key")["value"].sum()


def main():
    features, labels = make_classification(300, random_state=0)
    forest = RandomForestClassifier(20, random_state=0)
    for backend in ("loky", "multiprocessing"):
        with parallel_config(backend=backend, n_jobs=2):
            assert os.getpid() not in Parallel()(delayed(os.getpid)() for _ in range(20))  # where the work is done
            alone = cross_val_score(forest, features, labels, n_jobs=1)
            assert np.allclose(cross_val_score(forest, features, labels), alone)
            search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1, 10]}, n_jobs=2).fit(features, labels)
            assert search.best_score_ > 0.7
    frame = pd.DataFrame({"key": np.arange(100_000) % 7, "value": 1.0, "name": "x"})
    for context in CONTEXTS.values():
        with context.Pool(2) as pool:
            parts = pool.map(by_group, [frame.iloc[n::4] for n in range(4)])
        assert pd.concat(parts).groupby(level=0).sum().equals(by_group(frame))


if __name__ == "__main__":
    main()
