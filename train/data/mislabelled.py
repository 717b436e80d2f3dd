"""Find photos that look as if they were in the wrong class folder."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

_FOLDS = 5
_MIN_PICTURES = 2 * _FOLDS  # in a class; smaller classes aren't judged
_MIN_OTHER, _MAX_OWN = 0.7, 0.1  # probabilities of another class and of its own that make a photo a suspect


def suspects(
    features: NDArray[np.float32], targets: Sequence[int], groups: Sequence[int], fitted: NDArray[np.bool_]
) -> dict[int, tuple[int, float]]:
    """Photos that a classifier fitted without them assigns to another class: index -> (target, probability).

    The classifier is a logistic regression on features, fitted out of fold, as in confident learning (Northcutt,
    Jiang and Chuang 2021).

    Features are `(N, D)`, targets class indices. Photos of one picture share a number in `groups` and stay in one fold.
    `fitted`, bool `(N,)`, says which photos to fit on: those of the training split. They are judged out of fold, the
    others by a classifier fitted on all of them. Classes with fewer than ten different pictures are skipped.
    """
    labels = np.asarray(targets)
    known = np.flatnonzero(fitted)
    pictures = np.unique(np.stack([labels[known], np.asarray(groups)[known]]), axis=1)[0]
    counts = np.bincount(pictures, minlength=labels.max() + 1)
    known = known[counts[labels[known]] >= _MIN_PICTURES]
    classes = np.unique(labels[known])
    if len(classes) < 2:
        return {}
    probabilities = np.zeros((len(labels), labels.max() + 1))

    def judge(train: NDArray[np.intp], held_out: NDArray[np.intp]) -> None:
        model = _classifier(len(train)).fit(features[train], labels[train])
        probabilities[np.ix_(held_out, model.classes_)] = model.predict_proba(features[held_out])

    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    for train, held_out in folds.split(known, labels[known], np.asarray(groups)[known]):
        judge(known[train], known[held_out])
    others = np.setdiff1d(np.flatnonzero(np.isin(labels, classes)), known)
    if len(others):
        judge(known, others)

    own, best = probabilities[np.arange(len(labels)), labels], probabilities.argmax(1)
    suspect = np.flatnonzero((probabilities.max(1) >= _MIN_OTHER) & (own <= _MAX_OWN))
    return {int(index): (int(best[index]), float(probabilities[index, best[index]])) for index in suspect}


def _classifier(photos: int) -> Pipeline:
    # scikit-learn's C weighs the sum of the losses against the penalty, so it must fall with the number of photos.
    return make_pipeline(StandardScaler(), LogisticRegression(C=160 / photos, max_iter=1000))
