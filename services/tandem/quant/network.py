"""What the hybrid needs from a network: a function of windows. ONNX Runtime serves it, torch trains it, tests write their own."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Windows = NDArray[np.float32]  # (n, sequence, features), the oldest row first
Outputs = NDArray[np.float32]  # (n, 2): log-variance correction, reversion logit


class Network(Protocol):
    """A stateless network over windows. A row's result does not depend on the other rows, bit for bit."""

    def __call__(self, windows: Windows) -> Outputs:
        """windows (n, sequence, features) of scaled features -> (n, 2). Row i of the result belongs to window i."""
        ...


def neutral(windows: Windows) -> Outputs:
    """The network that knows nothing: no correction, logit 0. It turns the hybrid into plain GARCH."""
    return np.zeros((len(windows), 2), dtype=np.float32)
