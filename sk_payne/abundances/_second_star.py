"""Second star in a spectrum, with its own labels and velocity."""

from dataclasses import replace

import numpy as np
import torch
from scipy.constants import angstrom, c, h, k
from sklearn.base import BaseEstimator

from sk_payne.abundances._broadening import Broadening
from sk_payne.abundances._model import StarColumns, StarLight
from sk_payne.abundances._observation import as_numbers
from sk_payne.abundances._parameters import VELOCITY, Parameter, read_limits
from sk_payne.inputs import without_unit
from sk_payne.spectra import C_KMS

__all__ = ["SecondStar", "TwoStars"]

# h c / k in Å K.
_HC_K = h * c / k / angstrom


class SecondStar(BaseEstimator):
    r"""A second star in the spectrum: double-lined spectroscopic binaries.

    Each spectrum is fitted with one star. Where the residuals show the lines of another
    star at some velocity, it is fitted with two stars. The Bayesian information
    criterion [1]_ selects the number of stars in the table.

    Parameters
    ----------
    own_labels : "all" or list of str, default=("teff", "logg")
        Own labels of the second star; it shares all others, such as abundances, with
        the first. Names that the emulator lacks are left out of the default.
    flux_ratio : float or tuple of float, default=(0.05, 1.0)
        Ratio r of the continua, second over first star, or its limits. Normalised
        light of both is :math:`(F_1 + r F_2) / (1 + r)`.
    shape : {"constant", "linear", "blackbody"}, default="constant"
        Dependence of the ratio on wavelength. "linear" fits its slope as well, half the
        change of the ratio over the wavelengths of the emulator. "blackbody" fits the
        ratio of the radii instead, within `radius_ratio`:
        :math:`r = (R_2/R_1)^2 B_\lambda(T_2) / B_\lambda(T_1)` with Planck's law at
        both effective temperatures, the label "teff" in K.
    radius_ratio : float or tuple of float, default=(0.05, 1.5)
        Ratio of radii, second over first, or its limits, for "blackbody".
    velocity_range : tuple of float, default=None
        Radial velocities of the second star in km/s; those of the first if None.
    vsini : float or tuple of float, default=None
        Projected rotation velocity of the second star in km/s, or its limits; those of
        the first star if None. Macroturbulence and instrument are shared.
    min_delta_bic : float, default=10.0
        Two stars are accepted if they lower the criterion by more than this, and the
        ratio is not at its lower limit.

    References
    ----------
    .. [1] Schwarz, "Estimating the dimension of a model", Annals of Statistics 6, 461,
       1978; differences of 10 are very strong evidence: Kass & Raftery, "Bayes
       factors", J. Am. Stat. Assoc. 90, 773, 1995.

    Examples
    --------
    >>> from sk_payne import Observation
    >>> from sk_payne.abundances import SecondStar
    >>> observation = Observation(second_star=SecondStar(flux_ratio=(0.05, 1)))
    >>> observation.get_params()["second_star__shape"]
    'constant'
    """

    def __init__(
        self,
        own_labels=("teff", "logg"),
        *,
        flux_ratio=(0.05, 1.0),
        shape="constant",
        radius_ratio=(0.05, 1.5),
        velocity_range=None,
        vsini=None,
        min_delta_bic=10.0,
    ):
        self.own_labels = own_labels
        self.flux_ratio = flux_ratio
        self.shape = shape
        self.radius_ratio = radius_ratio
        self.velocity_range = velocity_range
        self.vsini = vsini
        self.min_delta_bic = min_delta_bic

    def velocity_limits(self, observation):
        """Return the limits of its velocity in km/s.

        Parameters
        ----------
        observation : Observation
            Checked observation.

        Returns
        -------
        limits : tuple of float
            Lowest and highest velocity.
        """
        limits = self.velocity_range
        limits = observation.velocity_range if limits is None else limits
        plain = without_unit(limits, argument="velocity_range", unit="km/s")
        pair = as_numbers(plain)
        if pair.shape != (2,) or not -C_KMS < pair[0] < pair[1] < C_KMS:
            raise ValueError(
                "`velocity_range` of a second star must be a smallest and a largest "
                f"velocity in km/s; got {limits!r}."
            )
        return float(pair[0]), float(pair[1])

    def parameters(self, labels, observation):
        """Return the parameters of the second star.

        Parameters
        ----------
        labels : list of Parameter
            Labels of the first star.
        observation : Observation
            Checked observation.

        Returns
        -------
        parameters : list of Parameter
            Own labels, "vsini_2" if it is fitted, "radial_velocity_2", and the ratio.
        """
        if observation.velocity_range is None:
            raise ValueError(
                "`velocity_range` of the observation must not be None with a second "
                "star: only the velocity distinguishes it from the first."
            )
        names = [label.name for label in labels]
        parameters = [
            replace(label, name=f"{label.name}_2", flag="PARAMETER_AT_EDGE")
            for label in labels
            if label.name in self._own(names)
        ]
        low, high = self._vsini(observation)
        if low < high:
            parameters.append(
                Parameter("vsini_2", "km / s", low, high, flag="WIDTH_AT_EDGE")
            )
        limits = self.velocity_limits(observation)
        parameters.append(
            Parameter(f"{VELOCITY}_2", "km / s", *limits, flag="VELOCITY_AT_EDGE")
        )
        return parameters + self._ratio_parameters(names)

    def names(self, parameters):
        """Return the names of its parameters among those of a plan.

        Parameters
        ----------
        parameters : Parameters
            All parameters.

        Returns
        -------
        names : list of str
            Names of the parameters of the second star.
        """
        labels = parameters.names[: parameters.n_labels]
        second = {f"{name}_2" for name in (*labels, "vsini", VELOCITY)}
        second |= {"flux_ratio", "flux_ratio_slope", "radius_ratio"}
        return [name for name in parameters.names if name in second]

    def light(self, first, block):
        """Return the light of both stars.

        Parameters
        ----------
        first : StarLight
            Light of the first star.
        block : StarBlock
            Block of the star.

        Returns
        -------
        light : TwoStars
            Light of both.
        """
        return TwoStars(self, first, block)

    def broadening(self, block):
        """Return the broadening of the second star.

        Parameters
        ----------
        block : StarBlock
            Block of the star.

        Returns
        -------
        broadening : Broadening or None
            Broadening with its own rotation.
        """
        observation, emulator = block.observation, block.emulator
        if self._vsini(observation) == observation.vsini:
            return block.broadening
        return Broadening.from_limits(
            emulator.wavelength,
            self.widths(block.plan),
            observation.limb_darkening,
            block.broadening.sigma if block.broadening else 0.0,
            emulator.resolving_power,
        )

    def widths(self, plan):
        """Return the limits of its widths.

        Parameters
        ----------
        plan : FitPlan
            Plan of the fit.

        Returns
        -------
        limits : dict of str to tuple of float
            Limits of the widths of the first star, with its own "vsini".
        """
        return plan.widths | {"vsini": self._vsini(plan.observation)}

    def _own(self, names):
        """Names of its own labels."""
        if isinstance(self.own_labels, str):
            if self.own_labels == "all":
                return names
            raise ValueError(
                "`own_labels` of a second star must be 'all' or a list of labels; got "
                f"{self.own_labels!r}."
            )
        own = list(self.own_labels)
        if tuple(own) != ("teff", "logg"):
            for name in own:
                if name not in names:
                    raise ValueError(
                        f"`own_labels` of a second star must be among {names}; got "
                        f"{name!r}."
                    )
        return own

    def _vsini(self, observation):
        """Limits of its rotation velocity."""
        if self.vsini is None:
            return observation.vsini
        argument = "`vsini` of a second star"
        return read_limits(self.vsini, argument, unit="km/s", lowest=0.0)

    def _ratio_parameters(self, names):
        """Parameters of the ratio of the continua."""
        if self.shape not in ("constant", "linear", "blackbody"):
            raise ValueError(
                "`shape` of a second star must be 'constant', 'linear' or 'blackbody'; "
                f"got {self.shape!r}."
            )
        if self.shape == "blackbody":
            if "teff" not in names or "teff" not in self._own(names):
                raise ValueError(
                    "`shape` of a second star must not be 'blackbody' for an emulator "
                    "without the label 'teff', or if both stars share it."
                )
            low, high = read_limits(
                self.radius_ratio, "`radius_ratio` of a second star", lowest=0.0
            )
            return [Parameter("radius_ratio", "", low, high, start=_start(low, high))]
        low, high = read_limits(
            self.flux_ratio, "`flux_ratio` of a second star", lowest=0.0
        )
        parameters = [Parameter("flux_ratio", "", low, high, start=_start(low, high))]
        if self.shape == "linear":
            # the ratio stays positive at both ends
            parameters.append(Parameter("flux_ratio_slope", "", -high, high, start=0.0))
        return parameters


class TwoStars:
    """Light of two stars at points of the observed spectrum.

    Parameters
    ----------
    star : SecondStar
        Settings of the second star.
    first : StarLight
        Light of the first star.
    block : StarBlock
        Block of the star, with the parameters of both.
    """

    def __init__(self, star, first, block):
        parameters, emulator = block.parameters, block.emulator
        self.shape, self.first = star.shape, first
        labels, widths = first.columns.labels.copy(), first.columns.widths.copy()
        for i, name in enumerate(parameters.names[: len(labels)]):
            if f"{name}_2" in parameters:
                labels[i] = parameters.index(f"{name}_2")
        broadening = block.second_broadening
        if broadening is not None:
            widths = parameters.columns(
                [
                    "vsini_2" if name == "vsini" and "vsini_2" in parameters else name
                    for name in broadening.free
                ]
            )
        columns = StarColumns(
            labels,
            widths,
            first.columns.offsets,
            parameters.index(f"{VELOCITY}_2"),
        )
        self.second = StarLight(emulator, broadening, columns)
        names = star.names(parameters)
        ratio = [n for n in names if n.startswith(("flux_ratio", "radius_ratio"))]
        self.ratio = parameters.columns(ratio).tolist()
        self.n_columns = (
            int(max(*first.columns.in_order, *columns.in_order, *self.ratio)) + 1
        )
        # of the whole emulator, as parameters of all stars have the same meaning
        grid = block.plan.emulator.wavelength
        self.middle, self.half = (grid[0] + grid[-1]) / 2, (grid[-1] - grid[0]) / 2
        self.teff = None
        if star.shape == "blackbody":
            i = parameters.index("teff")
            self.teff = i, int(labels[i])
            self.zero, self.scale = parameters.zero[i], parameters.scale[i]

    def flux(self, variables, points, arms):
        """Compute flux of shape (n, Q)."""
        one = self.first.flux(variables, points, arms)
        two = self.second.flux(variables, points, arms)
        ratio, _ = self._ratio(variables, points)
        ratio = ratio.to(one)
        return (one + ratio * two) / (1 + ratio)

    def spectra(self, variables, points, arms):
        """Compute spectra (n, Q) of one pair with other labels."""
        arms = None if arms is None else arms.expand(len(variables), -1)
        return self.flux(variables, points.expand(len(variables), -1), arms)

    def linearize(self, variables, points, arms):
        """Compute flux and derivatives (n, 1 + K, Q) by parameters of both stars."""
        one = self.first.linearize(variables, points, arms)
        two = self.second.linearize(variables, points, arms)
        ratio, slopes = self._ratio(variables, points)
        share = (1 / (1 + ratio)).to(one)[:, None]
        n, _, n_points = one.shape
        both = one.new_zeros(n, 1 + self.n_columns, n_points)
        both[:, 0] = (share * one[:, :1] + (1 - share) * two[:, :1])[:, 0]
        for part, weight, columns in (
            (one, share, self.first.columns.in_order),
            (two, 1 - share, self.second.columns.in_order),
        ):
            place = torch.from_numpy(1 + columns).to(both.device)
            both.index_add_(1, place, weight * part[:, 1:])
        change = share[:, 0] ** 2 * (two[:, 0] - one[:, 0])
        for column, slope in slopes.items():
            both[:, 1 + column] += change * slope.to(one)
        return both

    def _ratio(self, variables, points):
        """Ratio of the continua (n, Q), and its derivatives by their columns."""
        if self.shape == "blackbody":
            return self._blackbody(variables, points)
        values = [variables[:, column, None] for column in self.ratio]
        one = torch.ones_like(points)
        if self.shape == "constant":
            return values[0] * one, {self.ratio[0]: one}
        x = (points - self.middle) / self.half
        ratio = values[0] + values[1] * x
        inside = (ratio > 0) * one
        return ratio.clamp_min(0), {self.ratio[0]: inside, self.ratio[1]: inside * x}

    def _blackbody(self, variables, points):
        """Ratio of two black bodies, and its derivatives."""
        radius = variables[:, self.ratio[0], None]
        exponents, slopes = [], []
        for column in self.teff:
            teff = self.zero + self.scale * variables[:, column, None]
            x = _HC_K / (points * teff)
            exponents.append(torch.expm1(x))
            # d ln B / d variable
            slopes.append(x / teff * self.scale / -torch.expm1(-x))
        shape = exponents[0] / exponents[1]
        ratio = radius**2 * shape
        first, second = self.teff
        return ratio, {
            self.ratio[0]: 2 * radius * shape,
            first: -ratio * slopes[0],
            second: ratio * slopes[1],
        }


def _start(low, high):
    """Geometric mean of limits, as first guess of a ratio."""
    return float(np.clip(np.sqrt(max(low, 1e-3) * max(high, 1e-3)), low, high))
