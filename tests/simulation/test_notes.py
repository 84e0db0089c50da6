"""What a run tells people while it runs, and what its history keeps of that."""

import numpy as np
import pytest

from accord.errors import AccordError, UsageError
from simulation import simulate
from simulation.notes import counted
from tests.simulation.test_flower import Client


def test_what_was_decided_is_said_before_the_first_round() -> None:
    told: list[str] = []
    history = simulate(
        "digits", model="linear", rounds=1, said=told.append, told=lambda row: told.append(f"round {row.round}")
    )
    first = told.index("round 1")
    for part in ("task classification", "rows dealt to 10 devices, iid", "12 is more than there are", "1 of 2"):
        assert any(part in sentence for sentence in told[:first]), part
    assert [n for n in history.notes if "statistics" in n] == []
    assert [n for n in history.notes if "task classification" in n]


class Broken(Client):
    def fit(self, parameters: object, config: object) -> object:  # type: ignore[override]
        raise RuntimeError("the disk is gone")


def test_why_devices_could_not_train_is_said_and_kept() -> None:
    told: list[str] = []
    history = simulate(clients=[Broken(0, 20), *(Client(n, 20) for n in range(1, 4))], rounds=2, said=told.append)
    assert any("dev-000 failed to train: the client failed: RuntimeError: the disk is gone" in s for s in told)
    assert any("1 device has failed to train, 2 times" in note for note in history.notes)
    assert [row.participants for row in history.rounds] == [3, 3]


def test_a_learning_rate_that_explodes_is_named_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    history = simulate("digits", model="mlp:8", rounds=3, lr=1000.0)
    assert any("lower the learning rate" in note for note in history.notes)
    assert [str(w.message) for w in recwarn if "overflow" in str(w.message) or "invalid" in str(w.message)] == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rouns": 3}, "option 'rouns' is unknown: use devices"),
        ({"rounds": "3"}, "option rounds is '3': give a whole number"),
        ({"rounds": True}, "give a whole number"),
        ({"lr": None}, "give a number"),
        ({"secure_aggregation": "no"}, "give True or False"),
        ({"dropout": 1.0}, "no device would ever finish"),
        ({"optimiser": "lion"}, "--optimiser lion is unknown: use one of sgd, nesterov, adam, adamw"),
        ({"optimiser": "nesterov"}, "such as --momentum 0.9"),
        ({"optimiser": "adam", "momentum": 0.9}, "use --beta1"),
        ({"schedule": "hope"}, "--schedule hope is unknown"),
        ({"clip_norm": -1.0}, "--clip-norm -1.0 is out of range"),
        ({"model": "mlp:99999999"}, "parameters"),
        ({"model": "mlp:0"}, "mlp:0"),
        ({"model": "resnet"}, "cnn:small"),
        ({"model": __file__}, "test_notes.py is neither an .onnx file nor a whole bundle"),
    ],
)
def test_options_that_can_not_be_are_refused_by_name(options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        simulate("digits", **options)


def test_off_as_text_turns_the_masks_off() -> None:
    text, flag = (simulate("digits", model="linear", rounds=1, secure_aggregation=v) for v in ("off", False))
    assert text.rounds[0].control_bytes_up == flag.rounds[0].control_bytes_up


def test_data_of_another_type_is_refused() -> None:
    with pytest.raises(UsageError, match="data is a ndarray"):
        simulate(np.zeros(3))  # type: ignore[arg-type]


def test_a_statistics_round_that_fails_says_what_devices_say() -> None:
    class Lost(Client):
        def evaluate(self, parameters: object, config: object) -> object:  # type: ignore[override]
            raise RuntimeError("no test rows here")

    with pytest.raises(AccordError, match=r"dev-00[0-9]: the client failed: RuntimeError: no test rows here"):
        simulate(clients=[Lost(n, 20) for n in range(3)], rounds=1)


def test_few_and_many_devices_are_counted() -> None:
    assert counted(["a"], "one label") == "1 device has one label: a"
    assert counted([str(n) for n in range(10)], "x") == "10 devices have x: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
