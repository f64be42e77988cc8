"""Tasks of named classes: what each image is called in each task, against a plain recomputation."""

import dataclasses

import numpy as np
import pytest
import torch

import toy
from forgetting.benchmarks import classes, distribution_shift, mixture
from forgetting.errors import UserError

FINE = ["ant", "bee", "cod", "dab", "elm", "fir", "gin", "hop"]
COARSE = ["insect", "fish", "tree", "plant"]


def named(per_class=12):
    data = toy.dataset(classes=8, per_class=per_class)
    return dataclasses.replace(
        data,
        label_names=FINE,
        train_coarse_labels=data.train_labels // 2,
        test_coarse_labels=data.test_labels // 2,
        coarse_label_names=COARSE,
    )


def built(module, settings, seeds=(0, 1), data=None):
    return module.build(
        [data or named()],
        module.Settings(**settings),
        name="toy",
        seeds=list(seeds),
        device=toy.CPU,
        dtype=torch.float64,
    )


def shown(of, task, seed=0, part="train"):
    """Return {fine class: {name of the output it is called}} for the images of a task."""
    indices = getattr(of.sequences[seed][task - 1], part)
    alone = of.alone(seed)
    _, targets = alone.fetch(torch.from_numpy(indices)[None], task)
    found = {}
    for label, target in zip(of.pool.labels[indices].tolist(), targets[0].tolist(), strict=True):
        found.setdefault(FINE[label], set()).add((target, of.output_names[target]))
    return found


def test_listed_classes_have_a_head_a_task():
    of = built(classes, {"tasks": [["cod", "ant"], ["ant", "fir", "tree/*"][:2]]})
    assert of.output_names == ("cod", "ant", "ant", "fir")
    assert of.mask == "task"
    assert shown(of, 1) == {"cod": {(0, "cod")}, "ant": {(1, "ant")}}
    assert shown(of, 2) == {"ant": {(2, "ant")}, "fir": {(3, "fir")}}
    assert of.outputs_of(2)[0].tolist() == [False, False, True, True]


def test_coarse_names_and_other():
    tasks = [{"fish": ["fish"], "other": ["tree", "ant"]}, ["insect/*", "plant"]]
    of = built(classes, {"tasks": tasks})
    assert of.output_names == ("fish", "other", "ant", "bee", "plant")
    assert {name: {o for _, o in found} for name, found in shown(of, 1).items()} == {
        "cod": {"fish"},
        "dab": {"fish"},
        "elm": {"other"},
        "fir": {"other"},
        "ant": {"other"},
    }
    assert {o for found in shown(of, 2).values() for _, o in found} == {"ant", "bee", "plant"}


def test_shared_head_joins_outputs_of_one_name():
    tasks = [{"a": ["ant"], "b": ["cod"]}, {"a": ["bee"], "b": ["dab"]}]
    of = built(classes, {"tasks": tasks, "head": "shared"})
    assert of.outputs == 2
    assert of.mask == "none"
    assert shown(of, 2) == {"bee": {(0, "a")}, "dab": {(1, "b")}}


@pytest.mark.parametrize(
    ("tasks", "said"),
    [([["ant", "bea"]], 'Did you mean "bee"'), ([["ant", "insect"]], "named twice")],
)
def test_wrong_names(tasks, said):
    with pytest.raises(UserError, match=said):
        built(classes, {"tasks": tasks})


def test_shift_changes_the_subclasses_and_keeps_the_labels():
    of = built(distribution_shift, {})
    assert of.output_names == tuple(COARSE)
    assert shown(of, 1) == {
        f: {(i, c)} for i, (f, c) in enumerate(zip(FINE[::2], COARSE, strict=True))
    }
    assert shown(of, 2) == {
        f: {(i, c)} for i, (f, c) in enumerate(zip(FINE[1::2], COARSE, strict=True))
    }


def test_unaltered_superclasses_keep_their_images():
    of = built(distribution_shift, {"superclasses": ["fish", "tree"], "altered": ["tree"]})
    assert set(shown(of, 1)) == {"cod", "elm"}
    assert set(shown(of, 2)) == {"cod", "fir"}


def test_seeded_subclasses_differ_between_seeds_and_not_between_tasks():
    of = built(distribution_shift, {"order": "seeded"}, seeds=range(6))
    first = [frozenset(shown(of, 1, seed)) for seed in range(6)]
    assert len(set(first)) > 1
    for seed in range(6):
        assert set(shown(of, 1, seed)) | set(shown(of, 2, seed)) == set(FINE)


def test_shift_needs_enough_subclasses_and_known_names():
    with pytest.raises(UserError, match="need 4 subclasses, and insect"):
        built(distribution_shift, {"subclasses": 2})
    with pytest.raises(UserError, match='"mammal"'):
        built(distribution_shift, {"superclasses": ["mammal"]})
    with pytest.raises(UserError, match="no coarse labels"):
        built(distribution_shift, {}, data=toy.dataset())


PAIR = {"first": ["ant", "cod"], "second": ["elm", "gin"]}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_diluted_samples_carry_labels_of_the_second_task(share):
    of = built(mixture, {**PAIR, "share": share})
    for seed in (0, 1):
        for part in ("train", "test"):
            indices = getattr(of.sequences[seed][1], part)
            labels = of.pool.labels[indices].numpy()
            own = [int((labels == c).sum()) for c in (4, 6)]
            like = [int((labels == c).sum()) for c in (0, 2)]
            total = 10 if part == "train" else 2
            assert [a + b for a, b in zip(own, like, strict=True)] == [total, total]
            assert like == [round(share * total)] * 2
    called = shown(of, 2)
    expected = {"elm": "elm", "gin": "gin", "ant": "elm", "cod": "gin"}
    for name, found in called.items():
        assert {o for _, o in found} == {expected[name]}
    assert shown(of, 1) == {"ant": {(0, "ant")}, "cod": {(1, "cod")}}


def test_a_larger_share_keeps_what_a_smaller_one_mixes_in():
    small, large = (built(mixture, {**PAIR, "share": s}) for s in (0.2, 0.5))
    mixed = [
        {int(i) for i in of.sequences[0][1].train if of.pool.labels[i] in (0, 2)}
        for of in (small, large)
    ]
    assert mixed[0] < mixed[1]


def test_blended_pixels_are_the_weighted_sum_of_two_images():
    plain = built(mixture, {**PAIR, "mix": "pixels"})
    of = built(mixture, {**PAIR, "share": 0.25, "mix": "pixels"})
    for seed in (0, 1):
        indices = torch.from_numpy(of.sequences[seed][1].test)
        inputs, targets = of.alone(seed).fetch(indices[None], 2)
        partners = of.partners[seed, indices]
        raw = [of.pool.images[each].double() for each in (indices, partners)]
        blend = (0.75 * raw[0] + 0.25 * raw[1]) / 255
        torch.testing.assert_close(inputs[0], (blend - of.pool.mean) / of.pool.std)
        pairs = dict(
            zip(of.pool.labels[indices].tolist(), of.pool.labels[partners].tolist(), strict=True)
        )
        assert pairs == {4: 0, 6: 2}
        assert (partners >= len(named().train_images)).all()  # test images with test images
        assert torch.equal(targets, plain.alone(seed).fetch(indices[None], 2)[1])
    first = torch.from_numpy(of.test_indices(1))
    assert torch.equal(of.fetch(first, 1)[0], plain.fetch(first, 1)[0])
    # In a batch of both tasks only samples of the second are blended.
    both = torch.stack([first[:, 0], torch.from_numpy(of.test_indices(2))[:, 0]], dim=1)
    mixed, _ = of.fetch(both, torch.tensor([[1, 2], [1, 2]]))
    torch.testing.assert_close(mixed[:, 0], of.fetch(both, 1)[0][:, 0])
    torch.testing.assert_close(mixed[:, 1], of.fetch(both, 2)[0][:, 1])


def test_rungs_share_the_first_task():
    rungs = [
        built(mixture, {**PAIR, "share": s, "mix": m})
        for s, m in ((0.0, "samples"), (0.5, "samples"), (0.5, "pixels"))
    ]
    plain = built(classes, {"tasks": [PAIR["first"], PAIR["second"]]})
    for of in rungs:
        assert of.same_task(plain, 1)
    assert rungs[0].same_task(plain, 2)
    assert not rungs[1].same_task(plain, 2)
    assert not rungs[2].same_task(plain, 2)


def test_pairs_must_be_apart_and_large_enough():
    with pytest.raises(UserError, match="not among the first"):
        built(mixture, {"first": ["ant", "cod"], "second": ["cod", "elm"]})
    with pytest.raises(UserError, match="not among the first"):
        built(mixture, {"first": ["ant", "cod"], "second": ["gin", "elm", "bee"]})


def test_seeds_of_a_pack_equal_seeds_alone():
    for module, settings in (
        (mixture, {**PAIR, "share": 0.4, "mix": "pixels"}),
        (distribution_shift, {"order": "seeded"}),
    ):
        together = built(module, settings, seeds=(0, 1))
        apart = built(module, settings, seeds=(1,))
        assert together.alone(1).same_task(apart, 1)
        assert together.alone(1).same_task(apart, 2)
        assert np.array_equal(together.alone(1).sequences[0][1].train, apart.sequences[0][1].train)
