"""How well a classifier does, class by class: the confusion matrix, precision and recall, the worst mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.show import Shown

if TYPE_CHECKING:
    import numpy as np

    from colabkit._internal.display.show import Facts

    Array = np.ndarray[Any, Any]

_SHOWN_AT_MOST = 25  # classes of a matrix in HTML


@dataclass(frozen=True, kw_only=True, repr=False)
class ClassScore(Shown):
    """How well one class is recognised.

    Attributes:
        label: The class.
        precision: The share of its predictions that are right.
        recall: The share of its samples that are found.
        f1: Their harmonic mean.
        samples: How many there are.
    """

    label: str
    precision: float
    recall: float
    f1: float
    samples: int

    def _facts(self) -> Facts:
        scores = [(name, f"{getattr(self, name):.4f}") for name in ("precision", "recall", "f1")]
        return f"class {self.label}", [*scores, ("samples", self.samples)]


@dataclass(frozen=True, kw_only=True, repr=False)
class Mistake(Shown):
    """A test sample that the model takes for another class.

    Attributes:
        index: Its place in the test data.
        label: What it is.
        said: What the model says.
        probability: How sure the model is of that.
    """

    index: int
    label: str
    said: str
    probability: float

    def _facts(self) -> Facts:
        return f"x_test[{self.index}]", [("", f"is {self.label}, said {self.said} ({self.probability:.1%})")]


def confusion(true: Array, said: Array, classes: int) -> Array:
    """Count what is taken for what.

    Args:
        true: Class numbers, shape (samples,).
        said: As `true`.
        classes: How many there are.

    Returns:
        int64, shape (classes, classes): a row is a true class, a column what the model says.

    Example:
        >>> import numpy as np
        >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    import numpy as np

    counted = np.bincount(true.astype("int64") * classes + said.astype("int64"), minlength=classes * classes)
    matrix: Array = counted.reshape(classes, classes)
    return matrix


def scores(matrix: Array, labels: tuple[str, ...]) -> list[ClassScore]:
    """Read precision and recall of each class from a confusion matrix; 0 where nothing can be divided.

    Example:
        >>> import numpy as np
        >>> scores(np.array([[1, 1], [0, 1]]), ("cat", "dog"))[1]
        <class dog: precision 0.5000, recall 1.0000, f1 0.6667, samples 1>
    """
    class_scores = []
    for number, label in enumerate(labels):
        right, is_it, is_said = matrix[number, number], matrix[number].sum(), matrix[:, number].sum()
        precision, recall = float(right / max(1, is_said)), float(right / max(1, is_it))
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        class_scores.append(ClassScore(label=label, precision=precision, recall=recall, f1=f1, samples=int(is_it)))
    return class_scores


def mistakes(true: Array, probabilities: Array, labels: tuple[str, ...], at_most: int) -> list[Mistake]:
    """List the mistakes of which the model is the surest, the worst one first."""
    import numpy as np

    said = probabilities.argmax(axis=-1)
    wrong = np.nonzero(said != true)[0]
    sure = probabilities[wrong, said[wrong]]
    return [
        Mistake(
            index=int(wrong[at]),
            label=labels[int(true[wrong[at]])],
            said=labels[int(said[wrong[at]])],
            probability=float(sure[at]),
        )
        for at in np.argsort(-sure, kind="stable")[:at_most]
    ]


def to_html(matrix: Array, labels: tuple[str, ...]) -> str:
    """Draw the confusion matrix and the table of the classes, both folded."""
    cell = "border:0;padding:1px 8px;text-align:right"
    table = "".join(
        f'<tr><th style="{cell}">{escape(one.label)}</th><td style="{cell}">{one.precision:.4f}</td>'
        f'<td style="{cell}">{one.recall:.4f}</td><td style="{cell}">{one.f1:.4f}</td>'
        f'<td style="{cell}">{one.samples}</td></tr>'
        for one in scores(matrix, labels)
    )
    names = "".join(f'<th style="{cell}">{name}</th>' for name in ("class", "precision", "recall", "f1", "samples"))
    parts = [
        f'<details><summary>Classes</summary><table style="font-size:12px"><tr>{names}</tr>{table}</table></details>'
    ]
    if len(labels) <= _SHOWN_AT_MOST:
        most = max(1, int(matrix.max()))
        head = "".join(f'<th style="{cell}">{escape(label)}</th>' for label in labels)
        rows = []
        for number, label in enumerate(labels):
            cells = "".join(
                f'<td style="{cell};background:rgba({"61,127,217" if number == at else "217,72,59"},'
                f'{(0.6 if number == at else 2.0) * count / most if count else 0:.3f})">{count or ""}</td>'
                for at, count in enumerate(matrix[number].tolist())
            )
            rows.append(f'<tr><th style="{cell}">{escape(label)}</th>{cells}</tr>')
        parts.append(
            "<details><summary>Confusion matrix (a row is what it is, a column what the model says)</summary>"
            f'<table style="font-size:12px"><tr><td></td>{head}</tr>{"".join(rows)}</table></details>'
        )
    return "".join(parts)
