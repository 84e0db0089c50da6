"""The picture of a model: every node, what skips nodes, the blocks, and where it is cut."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accord import cli
from accord.entropy import SeededEntropy
from quantize import Choices
from quantize.drawing import ROW, drawing, page
from quantize.making import make
from quantize.picture import Picture, picture_of

INFO = helper.make_tensor_value_info


def residual(path: Path, blocks: int) -> Path:
    """Write a stem, residual blocks and a head: 3 nodes a block and 4 others."""
    rng = np.random.default_rng(0)
    tensors = {"stem": rng.normal(0, 0.3, (4, 1, 3, 3)), "head": rng.normal(0, 0.3, (4, 3))}
    node = helper.make_node
    nodes = [node("Conv", ["image", "stem"], ["x0"], name="stem", kernel_shape=[3, 3], pads=[1] * 4)]
    for b in range(blocks):
        tensors[f"w{b}"] = rng.normal(0, 0.1, (4, 4, 3, 3))
        nodes += [
            node("Conv", [f"x{b}", f"w{b}"], [f"c{b}"], name=f"block{b}", kernel_shape=[3, 3], pads=[1] * 4),
            node("Relu", [f"c{b}"], [f"r{b}"], name=f"relu{b}"),
            node("Add", [f"x{b}", f"r{b}"], [f"x{b + 1}"], name=f"join{b}"),
        ]
    nodes += [
        node("GlobalAveragePool", [f"x{blocks}"], ["g"], name="pool"),
        node("Flatten", ["g"], ["f"], name="flat"),
        node("MatMul", ["f", "head"], ["o"], name="head<&>"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [INFO("image", TensorProto.FLOAT, ["N", 1, 6, 6])],
        [INFO("o", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8), path)
    return path


def picture(path: Path, **choices: Any) -> Picture:
    rows = np.random.default_rng(1).normal(size=(20, 1, 6, 6)).astype(np.float32)
    given = Choices(rows=rows, scaled=False, **choices)
    return picture_of(make(str(path), (1, 6, 6), 3, "softmax", 4, SeededEntropy(0), None, given))


def test_a_row_for_each_node_and_the_cut_between_what_is_frozen_and_what_is_trained(tmp_path: Path) -> None:
    found = picture(residual(tmp_path / "m.onnx", 3), tier="last-1")
    assert [row.operator for row in found.rows] == ["Input", "Conv", *(["Conv", "Relu", "Add"] * 3), *POOLED]
    assert (found.cut_tensor, found.rows[found.cut].name) == ("x2", "block2")
    roles = {row.name: row.role for row in found.rows}
    assert [roles[name] for name in ("image", "stem", "block1", "block2", "relu2", "head<&>")] == [
        *("input", "frozen", "frozen", "trained", "plain", "trained")
    ]
    join = next(row for row in found.rows if row.name == "join0")
    assert [found.rows[place].name for place in join.sources] == ["stem", "relu0"]
    assert [(band.name, band.trained) for band in found.bands] == [
        ("last-4: stem", False),
        ("last-3: block0", False),
        ("last-2: block1", False),
        ("last-1: block2", True),
        ("head: head<&>", True),
    ]
    assert [row.name for row in found.rows if row.int8] == [
        *("image", "stem", "relu0", "join0", "relu1", "join1", "relu2", "join2", "pool", "flat")
    ]
    assert found.rows[2].weights == 4 * 4 * 9
    assert found.rows[2].shape == "N x 4 x 6 x 6"


POOLED = ("GlobalAveragePool", "Flatten", "MatMul")


def test_what_is_frozen_by_name_is_drawn_as_frozen_and_nothing_is_int8(tmp_path: Path) -> None:
    found = picture(residual(tmp_path / "m.onnx", 2), freeze_before="x1")
    roles = {row.name: row.role for row in found.rows}
    assert (roles["block0"], roles["block1"]) == ("frozen", "trained")
    assert found.cut_tensor == "x1"
    assert not any(row.int8 for row in found.rows)


@pytest.mark.parametrize("blocks", [2, 32])
def test_a_picture_is_xml_and_grows_downwards_only(blocks: int, tmp_path: Path) -> None:
    found = picture(residual(tmp_path / "m.onnx", blocks), tier="head")
    root = ET.fromstring(drawing(found))
    sizes = {name: int(root.attrib[name]) for name in ("width", "height")}
    assert sizes["width"] < 900
    assert sizes["height"] > ROW * (3 * blocks + 5)
    paths = [element for element in root.iter() if element.tag.endswith("path")]
    assert len(paths) == sum(len(row.sources) for row in found.rows)
    assert sum(" C" in element.attrib["d"] for element in paths) == blocks, "an arc for each branch that skips nodes"
    assert "head<&>" in "".join(root.itertext())
    assert "weights trained" in "".join(root.itertext())


def test_arcs_over_the_same_rows_do_not_cover_one_another(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["image", "w"], ["a"], name="a"),
        helper.make_node("Relu", ["a"], ["b"], name="b"),
        helper.make_node("Tanh", ["b"], ["c"], name="c"),
        helper.make_node("Add", ["b", "c"], ["d0"], name="near"),
        helper.make_node("Tanh", ["d0"], ["d"], name="d"),
        helper.make_node("Add", ["a", "d"], ["o"], name="far"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [INFO("image", TensorProto.FLOAT, ["N", 36])],
        [INFO("o", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.ones((36, 3), np.float32), "w")],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8), path)
    made = make(str(path), (36,), 3, "softmax", 4, SeededEntropy(0))
    root = ET.fromstring(drawing(picture_of(made)))
    arcs = [e.attrib["d"] for e in root.iter() if e.tag.endswith("path") and " C" in e.attrib["d"]]
    assert len(arcs) == 2
    assert len({arc.split()[1] for arc in arcs}) == 2, "each in a lane of its own"


def test_the_command_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = residual(tmp_path / "m.onnx", 2)
    words = ["quantize", str(path), "--out", str(tmp_path / "b"), "--explain"]
    assert cli.main([*words, str(tmp_path / "m.svg")]) == 0
    assert ET.parse(tmp_path / "m.svg").getroot().tag.endswith("svg")
    assert cli.main([*words, str(tmp_path / "m.html")]) == 0
    assert (tmp_path / "m.html").read_text().startswith("<!doctype html>")
    assert cli.main([*words, str(tmp_path / "m.png")]) == 1
    assert "the picture is .svg, or .html" in capsys.readouterr().err
    assert cli.main([*words, str(tmp_path / "none" / "m.svg")]) == 1
    assert "can't be written" in capsys.readouterr().err


def test_a_page_holds_the_drawing(tmp_path: Path) -> None:
    found = picture(residual(tmp_path / "m.onnx", 2))
    assert drawing(found) in page(found)
