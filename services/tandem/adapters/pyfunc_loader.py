"""How MLflow loads a logged bundle as a pyfunc (its `loader_module`): digest verified, network in ONNX Runtime, no pickle."""

from pathlib import Path
from typing import Any

import numpy as np

from tandem.adapters.onnx_network import OnnxNetwork
from tandem.quant.bundle import decode
from tandem.quant.hybrid import hybrid
from tandem.quant.network import Outputs, Windows


class HybridModel:
    """Windows in, what they say out. The rest of a forecast needs a pair's state, which a stateless model does not have."""

    def __init__(self, files: dict[str, bytes]) -> None:
        bundle = decode(files)
        self._calibration = bundle.calibration
        self._network = OnnxNetwork(bundle.onnx)

    def predict(self, windows: Windows, params: dict[str, Any] | None = None) -> Outputs:  # noqa: ARG002  (MLflow's signature)
        """(n, sequence, features) scaled float32 -> (n, 2) float32: factor on the GARCH variance, calibrated reversion probability."""
        outputs = self._network(np.ascontiguousarray(windows, dtype=np.float32))
        factor, probability = hybrid(self._calibration, np.ones(len(outputs)), outputs)
        return np.stack((factor, probability), axis=1).astype(np.float32)


def _load_pyfunc(path: str) -> HybridModel:
    """Called by MLflow with the folder of the bundle's files. Raises BadRecord if they do not match their digest."""
    return HybridModel({file.name: file.read_bytes() for file in Path(path).iterdir()})
