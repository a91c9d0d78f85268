"""Weights stored small and computed in full: int8 with a scale per output channel, or half precision.

A weight W becomes `Cast(int8) * scale` (or `Cast(half)`), which are constants to onnxruntime: it computes them once at
load and works in single precision from then on. Activations are never rounded, so a picture does not depend on its
neighbours.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float32]

SMALL = 2048
"""Weights of fewer elements stay as they are."""


def store_int8(model: onnx.ModelProto, keep_half: Callable[[str], bool] = lambda name: False) -> None:
    """Store every large matrix that a MatMul, Gemm or Gather reads as int8, but as halves where `keep_half(name)`."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        index = {"MatMul": 1, "Gemm": 1, "Gather": 0}.get(node.op_type)
        if index is None or node.input[index] not in weights:
            continue
        tensor = weights[node.input[index]]
        if np.prod(tensor.dims) < SMALL or tensor.data_type != TensorProto.FLOAT:
            continue
        if node.op_type == "Gather":
            _gather_int8(model, node, tensor)
        elif keep_half(tensor.name):
            _replace_by_half(model, tensor)
        else:
            transposed = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
            _replace_by_int8(model, tensor, output_axis=0 if transposed else 1)
        weights.pop(tensor.name)


def store_half(model: onnx.ModelProto) -> None:
    """Store every large weight in half precision."""
    for tensor in list(model.graph.initializer):
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= SMALL:
            _replace_by_half(model, tensor)


def round_to_int8(weight: Array, output_axis: int) -> tuple[npt.NDArray[np.int8], Array]:
    """Integers in −127..127 and the scale of each output channel, of shape (…, 1) or (1, …)."""
    other = tuple(axis for axis in range(weight.ndim) if axis != output_axis)
    scale = np.abs(weight).max(axis=other, keepdims=True) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale


def _replace_by_int8(model: onnx.ModelProto, tensor: TensorProto, output_axis: int) -> None:
    whole, scale = round_to_int8(numpy_helper.to_array(tensor), output_axis)
    name = tensor.name
    model.graph.initializer.remove(tensor)
    model.graph.initializer.extend(
        [numpy_helper.from_array(whole, f"{name}.int8"), numpy_helper.from_array(scale, f"{name}.scale")]
    )
    cast = helper.make_node("Cast", [f"{name}.int8"], [f"{name}.whole"], to=TensorProto.FLOAT)
    scaled = helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name])
    _put_first(model, [cast, scaled])


def _replace_by_half(model: onnx.ModelProto, tensor: TensorProto) -> None:
    half = numpy_helper.to_array(tensor).astype(np.float16)
    name = tensor.name
    model.graph.initializer.remove(tensor)
    model.graph.initializer.append(numpy_helper.from_array(half, f"{name}.half"))
    _put_first(model, [helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT)])


def _gather_int8(model: onnx.ModelProto, node: onnx.NodeProto, tensor: TensorProto) -> None:
    """Gather rows of a table as int8 and scale only those: the table stays small in memory, too."""
    whole, scale = round_to_int8(numpy_helper.to_array(tensor), output_axis=0)
    name, ids, out = tensor.name, node.input[1], node.output[0]
    place = list(model.graph.node).index(node)
    model.graph.initializer.remove(tensor)
    model.graph.initializer.extend(
        [numpy_helper.from_array(whole, f"{name}.int8"), numpy_helper.from_array(scale, f"{name}.scale")]
    )
    model.graph.node.remove(node)
    for offset, replacement in enumerate(
        (
            helper.make_node("Gather", [f"{name}.int8", ids], [f"{out}.int8"]),
            helper.make_node("Cast", [f"{out}.int8"], [f"{out}.whole"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [f"{name}.scale", ids], [f"{out}.scale"]),
            helper.make_node("Mul", [f"{out}.whole", f"{out}.scale"], [out]),
        )
    ):
        model.graph.node.insert(place + offset, replacement)


def _put_first(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
