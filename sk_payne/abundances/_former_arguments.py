"""Arguments that AbundanceRegressor had before there was an Observation."""

import warnings

from sk_payne.abundances._observation import Observation

__all__ = ["FORMER", "with_former_arguments"]

FORMER = frozenset(Observation().get_params(deep=False)) - {"second_star", "stages"}
"""Names of arguments that moved from AbundanceRegressor to Observation."""


def with_former_arguments(observation, former, *, call):
    """Put arguments of former versions into an observation, and warn.

    Parameters
    ----------
    observation : Observation or None
        The argument `observation`.
    former : dict
        Former arguments by name.
    call : str
        Way to write the new call, with "{}" where the arguments go.

    Returns
    -------
    observation : Observation or None
        The same object if there are none.

    Raises
    ------
    TypeError
        If a name is unknown.

    Warns
    -----
    FutureWarning
        If there are former arguments; it shows the new call.
    """
    if not former:
        return observation
    for name in former:
        if name not in FORMER:
            raise TypeError(
                f"AbundanceRegressor() got an unexpected keyword argument {name!r}."
            )
    shown = ", ".join(f"{name}={value!r}" for name, value in former.items())
    warnings.warn(
        f"Arguments of the observation moved into one object, and will be refused by "
        f"the next version. Write {call.format(shown)}.",
        FutureWarning,
        stacklevel=3,
    )
    values = {} if observation is None else observation.get_params(deep=False)
    return Observation(**(values | former))
