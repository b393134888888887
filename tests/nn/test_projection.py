from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from spacy_transfer.nn.projection import DomainMask, ProjectionName, make_projections
from tests.nn.small_tagger import (
    ENCODER,
    chain,
    floats,
    hidden_of,
    learning,
    loss_from,
    loss_of,
    make_batch,
    make_tagger,
)

GENERAL, OF_TARGET, OF_SOURCE = [0, 3], [1, 4], [2, 5]
"""The three parts of states that are three wide in each direction."""


def test_a_mask_lets_the_general_part_and_the_task_s_own_through() -> None:
    assert DomainMask(6, 1, 0, 2).mask.tolist() == [1, 1, 1, 1, 0, 0]
    assert DomainMask(6, 1, 1, 2).mask.tolist() == [1, 1, 0, 0, 1, 1]
    # Both directions have a general part, and one of each task.
    assert DomainMask(6, 2, 0, 2).mask.tolist() == [1, 1, 0, 1, 1, 0]
    assert DomainMask(6, 2, 1, 2).mask.tolist() == [1, 0, 1, 1, 0, 1]


@pytest.mark.parametrize("width", [4, 9, 10, 11, 600])
def test_masks_of_several_tasks(width: int) -> None:
    masks = torch.stack([DomainMask(width, 1, task, 3).mask for task in range(3)])
    general = masks.all(dim=0)
    assert masks.sum(dim=0)[~general].tolist() == [1] * int((~general).sum())
    sizes = [int(general.sum()), *(masks.sum(dim=1) - general.sum()).int().tolist()]
    assert sum(sizes) == width
    assert max(sizes) - min(sizes) <= 1


def test_states_too_narrow_for_masks() -> None:
    for width, directions in ((3, 1), (6, 2)):
        message = f"states {width} wide are too narrow for the masks of 3 tasks"
        with pytest.raises(ValueError, match=message):
            make_projections("domain-mask", width, directions, ["a", "b", "c"])


def masked(task: str, hidden: Tensor) -> Tensor:
    hidden = hidden.clone()
    hidden[:, OF_SOURCE if task == "target" else OF_TARGET] = 0.0
    return hidden


def test_the_loss_is_of_masked_states() -> None:
    assert ENCODER.word_width == 6
    tagger = make_tagger("T-A", projection="domain-mask")
    found = floats(loss_of(tagger, "target", "source"))
    for task, weight in (("target", 0.6), ("source", 0.4)):
        states = [masked(task, hidden) for hidden in hidden_of(tagger, task)]
        assert found[f"crf_{task}"] == pytest.approx(weight * loss_from(tagger, task, states, 0.7))


def test_a_task_does_not_learn_the_emissions_from_the_other_s_part() -> None:
    tagger = make_tagger("T-A", projection="domain-mask")
    for task, others in (("target", OF_SOURCE), ("source", OF_TARGET)):
        tagger.zero_grad(set_to_none=True)
        loss_of(tagger, task).total.backward()  # type: ignore[no-untyped-call]
        gradient = tagger.head(task).emission.weight.grad
        assert gradient is not None
        weight = tagger.head(task).emission.weight.detach()
        without_l2 = gradient - 2 * tagger.objective.gamma * weight
        assert not without_l2[:, others].abs().gt(1e-12).any()
        assert without_l2[:, GENERAL].abs().gt(1e-12).any()


def test_a_linear_projection_starts_as_the_identity() -> None:
    plain, linear = make_tagger("T-A"), make_tagger("T-A", projection="linear")
    missing = linear.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing == ["projections.target.weight", "projections.source.weight"]
    before, after = (floats(loss_of(tagger, "target", "source")) for tagger in (plain, linear))
    del before["l2"], after["l2"]
    assert after == pytest.approx(before, rel=1e-12)


def test_the_loss_is_of_each_task_s_own_map() -> None:
    tagger = make_tagger("T-A", projection="linear")
    for projection in tagger.projections.values():
        nn.init.normal_(projection.weight)
    found = floats(loss_of(tagger, "target", "source"))
    for task, weight in (("target", 0.6), ("source", 0.4)):
        own = tagger.projections[task].weight
        states = [hidden @ own.T for hidden in hidden_of(tagger, task)]
        assert found[f"crf_{task}"] == pytest.approx(weight * loss_from(tagger, task, states, 0.7))


def test_only_its_own_task_teaches_a_linear_projection() -> None:
    tagger = make_tagger("T-A", projection="linear")
    tagger.objective = type(tagger.objective)()
    for task in ("target", "source"):
        found = {name for name in learning(tagger, task) if name.startswith("projections.")}
        assert found == {f"projections.{task}.weight"}


@pytest.mark.parametrize("kind", ["linear", "domain-mask"])
def test_prediction_projects_too(kind: ProjectionName) -> None:
    tagger = make_tagger("T-A", projection=kind).eval()
    if kind == "linear":
        for projection in tagger.projections.values():
            nn.init.normal_(projection.weight, std=3.0)
    with torch.no_grad():
        for task in ("target", "source"):
            states = [tagger.projections[task](hidden) for hidden in hidden_of(tagger, task)]
            expected = [chain(tagger, task, hidden).best() for hidden in states]
            tags, lengths, _ = tagger(make_batch(tagger, (task,), gold=False))[task]
            found = [row[:n].tolist() for row, n in zip(tags, lengths.tolist(), strict=True)]
            assert found == expected
