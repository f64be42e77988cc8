"""Neural collapse: how far features shrink to their class's mean, and the means to a simplex.

With h the features (inputs of the head, d of them) of N images of C classes, mu_c the means of the
classes, mu_G that of all images, M = [mu_1 - mu_G, ..., mu_C - mu_G] (d x C), W (C x d) the head's
weights of the task's outputs and

    Sigma_W = (1/N) sum_i (h_i - mu_c(i)) (h_i - mu_c(i))^T,    Sigma_B = (1/C) M M^T,
    E = (I - 1 1^T / C) / sqrt(C - 1),

Bonifazi et al. (2024, arXiv 2404.02719; the definitions of Zhu et al. 2021, arXiv 2105.02375) take,
over all training images of the task,

* ``nc1`` = Tr(Sigma_W Sigma_B^+) / C;
* ``nc2`` = ||W W^T / ||W W^T||_F - E||_F, of the head alone;
* ``nc3`` = ||W M / ||W M||_F - E||_F;
* ``nc4``, the share of images whose largest logit is that of the nearest class mean.

The first three fall to 0 with collapse, the fourth rises to 1. The statistics of Papyan et al.
(2020, PNAS 117, 24652) that are others stand beside them, with M centred on the mean of the class
means there (the same where classes are equally frequent): of ``means`` (M) and ``head`` (W) each

* ``equinorm``: standard deviation (of C - 1) over mean of the C lengths;
* ``equiangle``: standard deviation of the cosines of all pairs;
* ``max_angle``: mean over pairs of |cosine + 1 / (C - 1)|;

and ``self_duality``, ||W^T / ||W||_F - M / ||M||_F||_F^2. (Their NC4 is 1 - ``nc4``.)

Since Sigma_B^+ = C (M^+)^T M^+, ``nc1`` is the mean over images of ||M^+ (h - mu_c)||^2, and no
d x d matrix is formed. All is float64. Directions in which the class means vary by no more than
d * eps of the largest variance count as none, as by default in torch.linalg.pinv of Sigma_B; in
float32, as the authors compute it, that is 6e-5 of the largest for 512 features. Where a class has
no image, whatever needs the means is undefined; so is ``nc1`` where all means coincide (the
pseudoinverse would give 0, as if all had collapsed).

Where there is batch norm, ``train`` mode has it use the statistics of shuffled batches, as in the
authors' measurements without a regulariser; their others are in ``eval`` mode.
"""

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from torch import Tensor

from forgetting.errors import UserError
from forgetting.measures._collapse import (
    angles,
    from_simplex,
    means_of,
    nearest_agrees,
    within_over_between,
)
from forgetting.measures._head_inputs import (
    Seen,
    has_batch_norm,
    linear_head,
    look,
    training_images,
)
from forgetting.measures._matrices import double
from forgetting.randomness import numpy_generator
from forgetting.settings import Settings as BaseSettings

if TYPE_CHECKING:
    from forgetting.runs import Checkpoint, RunView

COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "epoch": "float64",
    "mode": "str",
    "samples": "int64",
}


class Settings(BaseSettings):
    """At which moments, on how many images, and in which modes of batch norm."""

    tasks: Literal["kept"] | tuple[Annotated[int, Field(ge=0)], ...] = "kept"
    """Tasks looked at; kept: all for which there are weights. 0, before training, only if named;
    it is looked at with the images of task 1."""
    moments: Annotated[tuple[Literal["within", "end"], ...], Field(min_length=1)] = (
        "within",
        "end",
    )
    """within: the moments of ``training.checkpoint_epochs``; end: the ends of tasks."""
    images: Annotated[int, Field(gt=0)] | None = None
    """At most so many training images of the task; null: all. The features of all are kept in
    memory: images x features x 4 bytes."""
    modes: Annotated[tuple[Literal["eval", "train"], ...], Field(min_length=1)] = ("eval", "train")
    """Whether batch norm uses its running statistics or those of each batch; without batch norm
    there is no difference, and rows of eval alone."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Images of a batch in train mode; a last batch of one image joins the one before."""
    seeds: Annotated[int, Field(gt=0)] | None = None
    """How many seeds of a pack, from the first; null: all."""


def nc1(
    features: Tensor | ArrayLike, labels: Tensor | ArrayLike, *, classes: int | None = None
) -> float:
    """Within-class over between-class covariance, Tr(Sigma_W Sigma_B^+) / C.

    Args:
        features: (n, d), a row a sample. numpy or torch, of any real type.
        labels: (n,), integers.
        classes: C, where labels are from 0 to C - 1; None: the labels that there are.

    Returns:
        At least 0; NaN where a class is absent, all means coincide or a feature is not finite.

    Raises:
        ValueError: The shapes do not match, or a label is none of the C.
    """
    if classes is None:
        distinct, labels = torch.unique(torch.as_tensor(labels), return_inverse=True)
        classes = len(distinct)
    x, own = _checked(features, labels, classes)
    return within_over_between(x, own, means_of(x, own, classes))


def nc2(weights: Tensor | ArrayLike) -> float:
    """Distance of W W^T from a simplex's, both of length 1; W (C, d). NaN for W = 0 or C = 1."""
    w = double(weights)
    return from_simplex(w @ w.mT)


def nc3(
    features: Tensor | ArrayLike, labels: Tensor | ArrayLike, *, weights: Tensor | ArrayLike
) -> float:
    """Distance of W M from a simplex's, both of length 1; features (n, d), W (C, d).

    NaN where a class is absent or W M = 0. Raises as ``nc1``.
    """
    w = double(weights)
    x, own = _checked(features, labels, len(w))
    return from_simplex(w @ means_of(x, own, len(w)).between.mT)


def nc4(
    features: Tensor | ArrayLike, labels: Tensor | ArrayLike, *, logits: Tensor | ArrayLike
) -> float:
    """Share of samples whose largest logit is that of the nearest class mean.

    Features (n, d), logits (n, C). NaN where a class is absent. Raises as ``nc1``.
    """
    scores = double(logits)
    x, own = _checked(features, labels, scores.shape[1])
    return nearest_agrees(x, scores.argmax(1), means_of(x, own, scores.shape[1]))


def statistics(seen: Seen, weights: Tensor) -> dict[str, float]:
    """Return all statistics by name; ``weights`` (C, d) are the head's of the task's outputs."""
    features, labels, predicted = seen
    w = double(weights)
    means = means_of(features, labels, len(w))
    centred = means.classes - means.classes.mean(0)
    dual = w / torch.linalg.matrix_norm(w) - centred / torch.linalg.matrix_norm(centred)
    found = {
        "nc1": within_over_between(features, labels, means),
        "nc2": from_simplex(w @ w.mT),
        "nc3": from_simplex(w @ means.between.mT),
        "nc4": nearest_agrees(features, predicted, means),
        "self_duality": dual.square().sum().item(),
    }
    for of, vectors in (("means", centred), ("head", w)):
        found |= {f"{name}_{of}": value for name, value in angles(vectors).items()}
    return found


def digest_of(images: NDArray[np.int64]) -> str:
    """Return the SHA-256 of pool indices (n,), which may be thousands."""
    return hashlib.sha256(images.astype("<i8").tobytes()).hexdigest()


def _checked(
    features: Tensor | ArrayLike, labels: Tensor | ArrayLike, classes: int
) -> tuple[Tensor, Tensor]:
    x = double(features)
    own = torch.as_tensor(labels, device=x.device)
    if own.shape != (len(x),) or own.is_floating_point():
        raise ValueError(f"expected {len(x)} labels, integers; got {own.dtype} {tuple(own.shape)}")
    if own.min() < 0 or own.max() >= classes:
        raise ValueError(f"expected labels from 0 to {classes - 1}")
    return x, own.long()


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Neural collapse at each chosen moment, for every seed.

    Columns: seed, task, layer (the stage below the head), statistic, value, epoch (epochs trained
    within the task; 0 at its end), mode (``eval``, ``train``), samples (images). In the order of
    training. A seed that diverged has rows until then: none at the end of the task in which it
    did, nor later. ``attrs["probe"]`` says which images of a task were seen.

    Raises:
        UserError: A task is named of which no weights were kept, or the head is not linear.
    """
    rows: list[dict[str, Any]] = []
    probes: dict[tuple[int, str], dict[str, Any]] = {}
    for checkpoint in _chosen(run, settings):
        task = max(checkpoint.task, 1)
        for index, seed in enumerate(run.seeds[: settings.seeds]):
            if not _finite(run, checkpoint, index):
                continue
            benchmark = run.benchmark.alone(index)
            images = training_images(benchmark, task, settings.images)
            digest = digest_of(images)
            about = {"task": task, "images": len(images), "indices_sha256": digest}
            seeds = probes.setdefault((task, digest), {**about, "seeds": []})["seeds"]
            seeds += [seed] if seed not in seeds else []
            network = run.network(index, checkpoint.name)
            weights = linear_head(network).weight[benchmark.outputs_of(task)[0]]
            for mode in settings.modes if has_batch_norm(network) else ("eval",):
                shown, batch = images, None
                if mode == "train":
                    # The same batches at every moment of a task, and for every strategy.
                    path = (run.spec["benchmark"]["name"], seed, "neural_collapse", task)
                    shown = images[numpy_generator(*path).permutation(len(images))]
                    batch = settings.batch_size
                seen = look(network, benchmark, shown, task, batch=batch)
                moment = {"seed": seed, "task": checkpoint.task, "epoch": checkpoint.epoch}
                where = {"layer": network.stage_names[-2], "mode": mode, "samples": len(images)}
                rows += [
                    {**moment, **where, "statistic": statistic, "value": value}
                    for statistic, value in statistics(seen, weights).items()
                ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    frame = frame.sort_values(["seed", "task"], kind="stable", ignore_index=True)
    frame.attrs["probe"] = list(probes.values())
    return frame


def _chosen(run: "RunView", settings: Settings) -> "list[Checkpoint]":
    kept = [c for c in run.checkpoints if ("within" if c.epoch else "end") in settings.moments]
    if settings.tasks == "kept":
        return [c for c in kept if c.task > 0]
    for task in settings.tasks:
        reached = any(run.alive(seed, task) for seed in run.seeds)
        if reached and not any(c.task == task for c in kept):
            raise UserError(
                f"settings.tasks: {task}, but {run.folder} kept no weights of task {task} at "
                f"settings.moments ({', '.join(settings.moments)}); put {task} into "
                "training.checkpoints, or moments within tasks into training.checkpoint_epochs"
            )
    return [c for c in kept if c.task in settings.tasks]


def _finite(run: "RunView", checkpoint: "Checkpoint", index: int) -> bool:
    """Whether a seed had not diverged by a moment."""
    if run.alive(run.seeds[index], checkpoint.task):
        return True
    if not checkpoint.epoch:
        return False
    # Within the task in which it diverged, the weights tell whether that was before.
    tensors = run.tensors(checkpoint.name).values()
    return all(bool(tensor[index].isfinite().all()) for tensor in tensors)
