"""First guesses of labels and widths, by regression on model spectra.

Least squares only finds the minimum of the valley in which it starts.
"""

import hashlib
import weakref
from collections import OrderedDict

import numpy as np
import torch
from scipy.stats import qmc

from sk_payne.abundances._pixels import is_hole
from sk_payne.abundances._predict_model import PredictModel
from sk_payne.networks import fast_products

__all__ = [
    "LabelGuess",
    "Starts",
    "resample_roughly",
    "template_flux",
    "template_parameters",
]

# Number of model spectra for first guesses, and of those for velocities: few, but many
# for spectra shorter than this number of pixels, which have fewer lines.
_N_TEMPLATES = 256
_FEW, _MANY, _SHORT = 32, 64, 10_000

# Ridge of the regression from flux to labels, per template and pixel variance.
_RIDGE = 0.01

# Largest distance of first guesses from the middle of the box, in half widths.
_FARTHEST = 0.95

# Steps larger than this many median steps are not interpolated.
_ABSENT = 3.0

# Cache of model spectra by digest, for each living emulator, and the largest number of
# sets per emulator.
_N_KEPT = 8
_KEPT = weakref.WeakKeyDictionary()


def template_parameters(n_labels, n_templates, *, seed=0):
    """Choose labels of templates: the middle of the box, and a Sobol sequence in it.

    Parameters
    ----------
    n_labels : int
        Number of labels.
    n_templates : int
        Number of templates.
    seed : int, default=0
        Seed that scrambles the sequence.

    Returns
    -------
    parameters : ndarray of shape (n_templates, n_labels)
        Labels in units of the box, between -0.9 and 0.9.

    Examples
    --------
    >>> from sk_payne.abundances._starts import template_parameters
    >>> template_parameters(3, 8).shape
    (8, 3)
    """
    # Sobol points are balanced only if their number is a power of two
    n_points = 1 << max(n_templates - 1, 1).bit_length()
    points = qmc.Sobol(n_labels, rng=np.random.default_rng(seed)).random(n_points)
    spread = 0.9 * (2 * points[: n_templates - 1] - 1)
    return np.concatenate([np.zeros((1, n_labels)), spread])


class LabelGuess:
    """Labels of spectra on the grid of the emulator, guessed by linear regression.

    The labels of templates are regressed on their flux, with a ridge. From this rough
    guess, least squares finds the right valley more often, and in fewer steps, than
    from the best template.

    Parameters
    ----------
    parameters : Tensor of shape (M, n_labels)
        Labels of the templates, in units of the box.
    flux : Tensor of shape (M, P)
        Flux of the templates.
    """

    def __init__(self, parameters, flux):
        self.parameters = parameters
        self.flux = flux
        self.mean_flux = flux.mean(0)
        self.mean_parameters = parameters.mean(0)
        # single precision suffices to compare templates; flux may have any unit
        self._level = flux.abs().max().clamp_min(1e-300)
        self._templates = (flux / self._level).float()
        self._squares = self._templates**2
        centred = flux - self.mean_flux
        # with fewer templates than pixels, the dual form solves the smaller system
        kernel = centred @ centred.mT
        kernel.diagonal().add_(_RIDGE * len(flux))
        self.weights = centred.mT @ torch.linalg.solve(
            kernel, parameters - self.mean_parameters
        )

    def __call__(self, flux, ivar):
        """Guess the labels of stars.

        Parameters
        ----------
        flux, ivar : Tensor of shape (B, P)
            Observations; ignored pixels are filled from the template that fits best
            elsewhere.

        Returns
        -------
        parameters : Tensor of shape (B, n_labels)
            Labels in units of the box, within -0.95 and 0.95.
        """
        template = self.flux[self.nearest(flux, ivar, 1)[:, 0]]
        filled = torch.where(ivar > 0, flux, template)
        guess = self.mean_parameters + (filled - self.mean_flux) @ self.weights
        return guess.clamp(-_FARTHEST, _FARTHEST)

    def nearest(self, flux, ivar, n):
        """Find the n templates with the smallest chi2: rows of shape (B, n)."""
        weight = (ivar / ivar.amax(1, keepdim=True).clamp_min(1e-300)).float()
        flux = (torch.where(ivar > 0, flux, 0.0) / self._level).float()
        cross = (flux * weight) @ self._templates.mT
        chi2 = weight @ self._squares.mT - 2 * cross
        return chi2.topk(n, dim=1, largest=False).indices

    def others(self, flux, ivar, fitted):
        """Yield further starts for stars whose fit from the first guess is poor.

        Parameters
        ----------
        flux, ivar : Tensor of shape (B, P)
            Observations.
        fitted : Tensor of shape (B, n_labels)
            Labels of the fit from the first guess.

        Yields
        ------
        parameters : Tensor of shape (B, n_labels)
            The two templates with the smallest chi2; then the reflection of `fitted` at
            the first guess.
        """
        for nearest in self.nearest(flux, ivar, 2).T:
            yield self.parameters[nearest]
        yield (2 * self(flux, ivar) - fitted).clamp(-_FARTHEST, _FARTHEST)


class Starts:
    """First guesses for the fits of all stars.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    broadening : Broadening or None
        Broadening of the model spectra.
    box : tuple of tuple of float, or None
        Likely part of the bounds of labels, see `likely_box`.

    Attributes
    ----------
    mean_flux : ndarray of shape (n_grid,)
        Mean of the model spectra.
    velocity_templates : ndarray of shape (M, n_grid)
        Model spectra for the velocity scan.
    flux_range : tuple of float
        Smallest and largest flux of model spectra throughout the bounds.
    """

    def __init__(self, emulator, broadening, box=None):
        self._center, self._scale = emulator.center, emulator.half_width
        self.middle, self.half_width = _box(emulator, box)
        unit = _unit_labels(emulator)
        self.widths = broadening.starts() if broadening else np.zeros((1, 0))

        def broadened(flux):
            return [_broadened(emulator, broadening, flux, w) for w in self.widths]

        everywhere = likely = broadened(emulator.template_flux)
        if box is not None:
            likely = broadened(template_flux(emulator, box))
        self.guesses = [LabelGuess(unit, flux) for flux in likely]
        self.mean_flux = self.guesses[0].mean_flux.numpy()
        lows, highs = zip(*map(torch.aminmax, everywhere), strict=True)
        self.flux_range = float(min(lows)), float(max(highs))
        # all templates at every width: narrow ones alone would fit noise
        n = _MANY if emulator.n_pixels < _SHORT else _FEW
        self.velocity_templates = np.concatenate(
            [guess.flux[:n].numpy() for guess in self.guesses]
        )

    def template_labels(self, index):
        """Return the labels, in their units, of one of the velocity templates."""
        n = len(self.velocity_templates) // len(self.guesses)
        unit = self.middle + self.half_width * self.guesses[0].parameters[index % n]
        return self._center + self._scale * unit.numpy()

    def parameters(self, flux, ivar):
        """Guess labels and widths from spectra at rest, on the grid of the emulator.

        The shape is (n_starts, B, n_labels + n_widths), one start for each width.
        """
        starts = []
        for widths, guess in zip(self.widths, self.guesses, strict=True):
            labels = self.middle + self.half_width * guess(flux, ivar)
            widths = torch.from_numpy(widths).expand(len(labels), -1)
            starts.append(torch.hstack([labels, widths]))
        return torch.stack(starts)

    def others(self, flux, ivar, fitted):
        """Yield further labels to start from, for stars whose fit is poor."""
        fitted = (fitted - self.middle) / self.half_width
        for unit in self.guesses[0].others(flux, ivar, fitted):
            yield self.middle + self.half_width * unit


def template_flux(emulator, box=None):
    """Compute model spectra of labels throughout a box, the first at its middle.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    box : tuple of tuple of float, default=None
        Ends of each label as fractions of its bounds; all of the bounds if None.

    Returns
    -------
    flux : Tensor of shape (n_templates, n_grid), float64
        Flux on the grid of the emulator, without broadening.
    """
    middle, half_width = _box(emulator, box)
    return _at_rest(emulator, middle + _unit_labels(emulator) * half_width)


def _box(emulator, box):
    """Middle and half width of a box in the bounds, in the variables of the fit."""
    low = (emulator.low - emulator.center) / emulator.half_width
    high = (emulator.high - emulator.center) / emulator.half_width
    if box is not None:
        low, high = (
            low + (high - low) * np.array(part) for part in zip(*box, strict=True)
        )
    return torch.from_numpy((low + high) / 2), torch.from_numpy((high - low) / 2)


def _unit_labels(emulator):
    return torch.from_numpy(template_parameters(len(emulator.low), _N_TEMPLATES))


def _at_rest(emulator, labels):
    """Model spectra of labels on the grid of the emulator, float64 on the CPU.

    Emulators of sk_payne compute them in single precision. They are cached as long as
    the emulator lives: networks that take wavelengths one by one need seconds.
    """
    module = emulator.single
    if module is None:
        model = PredictModel(emulator.source, emulator.center, emulator.half_width)
        return model.flux(None, labels)
    with fast_products(), torch.no_grad():
        key = _digest(module, labels)
        kept = _KEPT.setdefault(emulator.estimator, OrderedDict())
        if key not in kept:
            kept[key] = module.from_scaled(labels.to(module.label_center)).cpu()
        kept.move_to_end(key)
        flux = kept[key]
        while len(kept) > _N_KEPT:
            kept.popitem(last=False)
    return flux.double()


def _digest(module, labels):
    """Digest of labels and of a module, which may have been trained again."""
    digest = hashlib.sha256(labels.numpy().tobytes())
    digest.update(repr(module.flux_scale).encode())
    for tensor in (*module.parameters(), *module.buffers(), module.log_wavelength):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()


def _broadened(emulator, broadening, flux, widths):
    """Model spectra (M, n_grid) of the emulator, broadened by some widths."""
    if broadening is None:
        return flux
    widths = torch.from_numpy(widths).expand(len(flux), -1)
    interpolator = broadening.convolver.interpolator
    index = interpolator.index(torch.from_numpy(emulator.wavelength))
    return interpolator.evaluate(broadening.coefficients(flux, widths), index)


def resample_roughly(wavelength, flux, ivar, grid):
    """Bring spectra to a common grid by linear interpolation, for first guesses.

    Parameters
    ----------
    wavelength, flux, ivar : ndarray of shape (B, P)
        Observations, in any order.
    grid : ndarray of shape (n_grid,)
        Wavelengths of the grid in Å.

    Returns
    -------
    flux, ivar : Tensor of shape (B, n_grid)
        Flux and inverse variances, which are 0 outside, where pixels are absent, and
        next to ignored pixels.
    """
    # pixels of arms are concatenated, not sorted
    order = np.argsort(wavelength, axis=1, kind="stable")
    stars = [
        [part[row] for part in star]
        for *star, row in zip(wavelength, flux, ivar, order, strict=True)
    ]
    flux = np.stack([np.interp(grid, w, f) for w, f, _ in stars])
    bad = np.stack([np.interp(grid, w, i <= 0, left=1, right=1) for w, _, i in stars])
    ivar = np.stack([np.interp(grid, w, i) for w, _, i in stars])
    absent = np.stack([_is_absent(grid, w) for w, _, _ in stars])
    ivar = np.where((bad == 0) & ~absent, ivar, 0.0)
    return torch.tensor(flux, device="cpu"), torch.tensor(ivar, device="cpu")


def _is_absent(grid, wavelength):
    """Mask of the wavelengths of a grid where a star has no pixels."""
    holes = is_hole(np.diff(np.log(wavelength))[None], at_least=_ABSENT)[0]
    before = np.searchsorted(wavelength, grid, side="right") - 1
    inside = (before >= 0) & (before < len(holes))
    before = before.clip(0, max(len(holes) - 1, 0))
    return inside & holes[before] & (grid > wavelength[before])
