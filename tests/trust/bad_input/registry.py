"""All calls that are tested."""

from . import calls_of_estimators, calls_of_models, calls_of_noise, calls_of_volumes
from .arguments import Call

CALLS: dict[str, Call] = {
    call.name: call
    for module in (calls_of_models, calls_of_noise, calls_of_estimators, calls_of_volumes)
    for call in module.CALLS
}
