"""An ordinary network and its optimisers as named NumPy arrays, and back: the form of checkpoints and digests.

Names: `network/<state_dict name>`, `optimiser/<its name>/<parameter>/<moment>`, `optimiser/<its name>/learning_rate`.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

Tensors = dict[str, NDArray[np.generic]]


def to_arrays(network: nn.Module, optimisers: Mapping[str, Optimizer]) -> Tensors:
    """Copies of all parameters, buffers, moments, steps and learning rates."""
    arrays = {f"network/{name}": _array(value) for name, value in network.state_dict().items()}
    parameter_names = {id(parameter): name for name, parameter in network.named_parameters()}
    for label, optimiser in optimisers.items():
        for group in optimiser.param_groups:
            arrays[f"optimiser/{label}/learning_rate"] = np.asarray(group["lr"], np.float64)
            for parameter in group["params"]:
                for moment, value in optimiser.state.get(parameter, {}).items():
                    arrays[f"optimiser/{label}/{parameter_names[id(parameter)]}/{moment}"] = _array(value)
    return arrays


def from_arrays(
    arrays: Mapping[str, NDArray[np.generic]], network: nn.Module, optimisers: Mapping[str, Optimizer]
) -> None:
    """Put the state of `to_arrays` into a network and optimisers of the same config."""
    own = {name.removeprefix("network/"): value for name, value in arrays.items() if name.startswith("network/")}
    network.load_state_dict({name: from_array(value) for name, value in own.items()})
    parameters = dict(network.named_parameters())
    for label, optimiser in optimisers.items():
        optimiser.state.clear()
        prefix = f"optimiser/{label}/"
        for name, value in arrays.items():
            if not name.startswith(prefix):
                continue
            parameter, _, moment = name.removeprefix(prefix).rpartition("/")
            if parameter:
                home = parameters[parameter]
                optimiser.state[home][moment] = from_array(value).to(home.device)
            else:
                for group in optimiser.param_groups:
                    group["lr"] = float(value)


def _array(value: torch.Tensor) -> NDArray[np.generic]:
    array: NDArray[np.generic] = value.detach().cpu().numpy().copy()
    return array


def from_array(value: NDArray[np.generic]) -> torch.Tensor:
    """In torch's own memory."""
    return torch.from_numpy(np.array(value, order="C"))  # arrays from the object store are read-only
