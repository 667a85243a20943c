"""Arguments that AbundanceRegressor had before there was an Observation."""

import functools
import warnings

from sk_payne.abundances._observation import Observation

__all__ = ["FORMER", "takes_former_arguments", "with_former_arguments"]

FORMER = frozenset(Observation().get_params(deep=False)) - {"second_star", "stages"}
"""Names of arguments that moved from AbundanceRegressor to Observation."""


def takes_former_arguments(init):
    """Let a constructor take former arguments, which its signature does not show.

    Parameters
    ----------
    init : function
        ``__init__`` with an argument `observation`, the second one.

    Returns
    -------
    init : function
        Constructor that puts former arguments into the observation.
    """

    @functools.wraps(init)
    def wrapper(self, emulator, observation=None, **given):
        former = {name: given.pop(name) for name in list(given) if name in FORMER}
        observation = with_former_arguments(
            observation, former, call="AbundanceRegressor(..., Observation({}))"
        )
        init(self, emulator, observation, **given)

    return wrapper


def with_former_arguments(observation, former, *, call):
    """Put arguments of former versions into an observation, and warn.

    Parameters
    ----------
    observation : Observation or None
        The argument `observation`.
    former : dict
        Former arguments by name.
    call : str
        Template of the new call, with "{}" in place of the arguments.

    Returns
    -------
    observation : Observation or None
        The same object if there are no former arguments.

    Warns
    -----
    FutureWarning
        If there are former arguments; the message shows the new call.
    """
    if not former:
        return observation
    shown = ", ".join(f"{name}={value!r}" for name, value in former.items())
    warnings.warn(
        f"Arguments of the observation moved into one object, and will be refused by "
        f"the next version. Write {call.format(shown)}.",
        FutureWarning,
        stacklevel=3,
    )
    values = {} if observation is None else observation.get_params(deep=False)
    return Observation(**(values | former))
