"""A small CNN that starts from nothing, trained against int8 rounding on clothes: beside the same CNN in float32."""

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.signing import SigningKey
from simulation import datasets
from simulation.scenarios.scenario import Scenario


def fashion(*, rows: int, test_rows: int, batch_size: int) -> Scenario:
    """Return the scenario on Fashion-MNIST, or on digits where that is not installed."""
    try:
        data = datasets.load("fashion-mnist", rows=rows, test_rows=test_rows)
        said = f"Fashion-MNIST, the first {len(data.y_train):,} rows"
    except UsageError as error:
        data = datasets.load("digits-images")
        said = f"Fashion-MNIST is not here ({error}): the demo falls back to digits"
    outputs = len(set(data.y_train.tolist()))

    def made(tier: str, entropy: Entropy, key: SigningKey | None) -> bytes:
        from quantize import Choices, make_bundle  # noqa: PLC0415 - onnx is loaded only now

        choices = Choices(tier=tier)
        return make_bundle("cnn:small", data.row_shape, outputs, "softmax", batch_size, entropy, key, choices)

    return Scenario(
        name="fashion",
        model="cnn:small, int8 (tier last-all)",
        data=data,
        said=said,
        bundle=lambda entropy, key: made("last-all", entropy, key),
        plain=lambda entropy, key: made("float", entropy, key),
        plain_name="float FedAvg",
        before=False,
    )
