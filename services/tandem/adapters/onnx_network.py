"""The network in ONNX Runtime: one thread, and chunks of one fixed shape, so that a row's result never depends on its neighbours."""

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import (
    NotImplemented as Unimplemented,
)

from tandem.domain.errors import BadRecord
from tandem.quant.network import Outputs, Windows

# Rows per call. Matrix kernels differ with the number of rows and so do their last bits: every call therefore has this shape, filled up
# with zeros. benchmarks/forecast_step.py prints what that costs.
CHUNK_ROWS = 16

_REFUSED = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, Unimplemented, RuntimeException)  # they have no base of their own


class OnnxNetwork:
    """A Network read from ONNX bytes. Not for use by two threads at once."""

    def __init__(self, onnx_bytes: bytes) -> None:
        """Raises BadRecord when the bytes are no graph with one input (n, sequence, features) and one output (n, 2)."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        try:
            self._session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
        except _REFUSED as error:
            raise BadRecord("onnx_malformed", str(error)) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 3:
            raise BadRecord(
                "onnx_shape", f"{len(inputs)} inputs and {len(outputs)} outputs, expected one (n, sequence, features) and one (n, 2)"
            )
        self._input, self._output = inputs[0].name, outputs[0].name
        self._row_shape = tuple(inputs[0].shape[1:])

    def __call__(self, windows: Windows) -> Outputs:
        """(n, sequence, features) -> (n, 2); n may be 0. Raises ValueError for another shape."""
        if windows.shape[1:] != self._row_shape:
            raise ValueError(f"windows have shape {windows.shape}, the graph takes (n, {self._row_shape[0]}, {self._row_shape[1]})")
        result = np.empty((len(windows), 2), dtype=np.float32)
        chunk = np.zeros((CHUNK_ROWS, *self._row_shape), dtype=np.float32)
        for start in range(0, len(windows), CHUNK_ROWS):
            part = windows[start : start + CHUNK_ROWS]
            chunk[: len(part)] = part
            result[start : start + len(part)] = self._session.run([self._output], {self._input: chunk})[0][: len(part)]
        return result
