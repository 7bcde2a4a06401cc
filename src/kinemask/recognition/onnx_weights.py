"""Smaller weights in an ONNX graph: of mostly empty ones what is not 0, and, if asked, eight bits for a number."""

from __future__ import annotations

from typing import Any

import numpy as np

SMALLEST = 1024  # numbers of a weight that is worth it
SPARSE = 0.25  # share of numbers that are not 0
_READS = {"Conv": 1, "MatMul": 1, "Gemm": 1}  # operators with weights, and which input those are


def pack(model: Any, eight_bits: bool = False) -> bytes:
    """The file of a ModelProto with smaller weights of convolutions and linear maps; the model stays as it is.

    A weight of which most is 0 is written as its other numbers and their places, and put together when the model is
    loaded; this loses nothing. eight_bits: weights are whole numbers from -127 to 127 with a scale for each output.
    """
    import onnx
    from onnx import numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    users = [
        (node, place)
        for node in graph.node
        for place, name in enumerate(node.input)
        if place == _READS.get(node.op_type)
    ]
    found = {tensor.name: tensor for tensor in graph.initializer}
    added: list[Any] = []
    packed: dict[str, str] = {}
    for node, place in users:
        name = node.input[place]
        if name in found and name not in packed:
            values = numpy_helper.to_array(found[name])
            sparse = np.count_nonzero(values) < SPARSE * values.size
            if values.dtype != np.float32 or values.size < SMALLEST or not (sparse or eight_bits):
                continue
            axis = 0 if node.op_type == "Conv" or _transposed(node) else values.ndim - 1
            writer = _Writer(onnx, graph, added, name)
            packed[name] = writer.sparse(values, eight_bits) if sparse else writer.dense(values, axis)
            graph.initializer.remove(found[name])
        if name in packed:
            node.input[place] = packed[name]
    before = list(graph.node)
    del graph.node[:]
    graph.node.extend([*added, *before])  # what a node reads stands before it
    return made.SerializeToString()


def _transposed(node: Any) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)


class _Writer:
    """Puts the parts of one weight into a graph, and the nodes that make it again."""

    def __init__(self, onnx: Any, graph: Any, nodes: list[Any], name: str):
        self.onnx, self.graph, self.nodes, self.name = onnx, graph, nodes, name

    def dense(self, values: np.ndarray, axis: int) -> str:
        """The whole weight in eight bits, a scale for each slice along the axis."""
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = _scale(np.abs(values).max(others, keepdims=True))
        return self._decoded(np.rint(values / scale).astype(np.int8), scale.ravel(), axis)

    def sparse(self, values: np.ndarray, eight_bits: bool) -> str:
        """What is not 0 and where."""
        flat = values.ravel()
        where = np.flatnonzero(flat)
        taps = flat[where]
        if eight_bits:
            scale = _scale(np.abs(taps).max())
            name = self._decoded(np.rint(taps / scale).astype(np.int8), np.asarray(scale), 0)
        else:
            name = self._constant("taps", taps)
        size = self._constant("size", np.array([flat.size], np.int64))
        shape = self._constant("shape", np.array(values.shape, np.int64))
        zero = self.onnx.helper.make_tensor("value", self.onnx.TensorProto.FLOAT, [1], [0.0])
        empty = self._node("ConstantOfShape", "empty", [size], value=zero)
        full = self._node(
            "ScatterElements", "full", [empty, self._constant("where", where.astype(np.int32)), name], axis=0
        )
        return self._node("Reshape", "shaped", [full, shape])

    def _decoded(self, values: np.ndarray, scale: np.ndarray, axis: int) -> str:
        parts = [self._constant("eight", values), self._constant("scale", scale.astype(np.float32))]
        return self._node("DequantizeLinear", "decoded", parts, axis=axis)

    def _constant(self, role: str, values: np.ndarray) -> str:
        name = f"{self.name}.{role}"
        self.graph.initializer.append(self.onnx.numpy_helper.from_array(values, name))
        return name

    def _node(self, kind: str, role: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{self.name}.{role}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], name, **attributes))
        return name


def _scale(largest: np.ndarray) -> np.ndarray:
    return np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
