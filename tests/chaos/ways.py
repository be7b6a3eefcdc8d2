"""Every kind of fault by name, in one order, which a seed's schedule draws from."""

from chaos.faults import Way, process_ways
from chaos.faults_control import CONTROL_WAYS
from chaos.faults_exchange import EXCHANGE_WAYS
from chaos.faults_inputs import INPUT_WAYS
from chaos.faults_machine import MACHINE_WAYS
from chaos.faults_wire import WIRE_WAYS


def ways() -> dict[str, Way]:
    """All kinds that can be done here."""
    return {way.kind.name: way for way in (*process_ways(), *WIRE_WAYS, *INPUT_WAYS, *EXCHANGE_WAYS, *MACHINE_WAYS, *CONTROL_WAYS)}
