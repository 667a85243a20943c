"""FineTunedEmulator: a trained emulator that learns a grid of its own.

It is here because spectra of another grid, even one in which fewer labels vary, save
most of the spectra of this one.
"""

import os

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from sk_payne.emulators._base import BaseEmulator
from sk_payne.emulators._flux import StreamedFlux, is_streamed, stack_flux
from sk_payne.emulators._grid import check_grid, check_resolving_power
from sk_payne.emulators._labels import resolve_label_names, resolve_label_units
from sk_payne.emulators._loading import load
from sk_payne.emulators._recipe import gentle_recipe, resolve_recipe
from sk_payne.emulators._state import fingerprint
from sk_payne.emulators._transfer import (
    freeze,
    match_labels,
    transfer_options,
    transfer_scaling,
    transfer_weights,
)
from sk_payne.grids import StoredGrid
from sk_payne.networks import build_network, resolve_network


class FineTunedEmulator(BaseEmulator):
    """Emulator that starts from a trained one.

    The network of the base goes on learning on new spectra, usually far fewer than a
    training from scratch would need. At its first step it predicts what the base
    does: labels are scaled as in the base; a label that was constant there, or that is
    new, has no influence until it is learned, but for the chemistry that the opacity
    network knows. The base is never changed.

    Parameters
    ----------
    base : SpectrumEmulator, FineTunedEmulator or path-like
        A fitted emulator, or a file or folder that its ``save`` wrote.
    wavelength : array-like of shape (n_wavelengths,), default=None
        Wavelengths of the columns of F in Å. If None, those of the base. A transformer
        takes any; dense networks are interpolated, within the range of the base; the
        convolutional network can only stay on its grid.
    medium : {"air", "vacuum"}, default=None
        If None, that of the base; no other is allowed.
    resolving_power : float, default=None
        Of the spectra, if not that of the base.
    label_names : sequence of str, default=None
        Names of the columns of P. If None, those of a DataFrame, else those of the
        base. Labels are matched by name (by position if the base had none), in any
        order; all of the base must be there.
    label_units : sequence of str or dict, default=None
        astropy units of the labels. If None, those of the base.
    rehearse : tuple of array-like or StoredGrid, default=None
        Labels and flux, with the columns of the new ones, that stay in the training:
        those of the base, so that it is not forgotten. Held-out errors, box and domain
        remain those of the new spectra alone. Flux on disk stays there.
    freeze : sequence of str, default=()
        Patterns of the weights that stay as they are, such as ``("layers.*",)``; the
        names are those of ``to_torch().network.named_parameters()``.
    max_steps : int, default=None
        Optimisation steps; if None, as the recipe says.
    recipe : Recipe or dict, default=None
        Entries to change of the recipe for fine-tuning: that of the architecture
        at a lower learning rate and with fewer steps.
    validation_fraction : float, default=0.1
        Part of the spectra that is held out from training, drawn at random.
    callbacks : list, default=None
        Further skorch callbacks.
    checkpoint : path-like, default=None
        As in :class:`SpectrumEmulator`.
    device : str, default="auto"
        "auto" is an accelerator if there is one, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Of the held-out spectra and the batches.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    label_names_, label_units_ : list of str
        Of the columns of P.
    wavelength_ : ndarray of shape (n_wavelengths,) or None
        Training grid in Å.
    medium_ : {"air", "vacuum"} or None
        Its medium.
    resolving_power_ : float or None
        Of the spectra.
    label_low_, label_high_ : ndarray of shape (n_labels,)
        The training box, of the new spectra alone.
    held_out_mae_, held_out_rms_ : ndarray of shape (n_wavelengths,) or None
        Mean absolute and root mean square error of the flux at each wavelength on the
        held-out spectra; None if nothing was held out.
    held_out_label_edges_ : ndarray of shape (n_labels, 5) or None
        Quartiles of the labels of the held-out spectra, with minimum and maximum.
    held_out_label_mae_ : ndarray of shape (n_labels, 4) or None
        Mean absolute error of the held-out spectra in each quarter of every label.
    n_outputs_, n_training_, n_held_out_, n_steps_ : int
        Wavelengths, spectra trained on and held out, and optimisation steps taken.
    history_ : list of dict
        Losses of scaled flux after every ``validate_every`` steps.
    provenance_ : dict
        What is known of the base.
    arch_, arch_params_, recipe_, device_, net_, n_features_in_, feature_names_in_
        As in :class:`SpectrumEmulator`.

    See Also
    --------
    SpectrumEmulator : Trains from scratch.

    Notes
    -----
    With few new spectra, a network forgets what it had learned while it learns what is
    new. `rehearse` keeps the old ones in the training; a batch then holds old and new
    ones in the ratio of their numbers.

    ``clone`` keeps the base and the rehearsed spectra, which are shared and not copied,
    so that cross-validation and learning curves start every training from them. A
    saved fine-tuned emulator stands on its own: loading gives a
    :class:`SpectrumEmulator`.

    References
    ----------
    .. [1] Różański, Ting & Jabłońska, "TransformerPayne", arXiv:2407.05751, who
       pre-train on spectra of one temperature and surface gravity.

    Examples
    --------
    >>> from sk_payne import FineTunedEmulator, SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> grid = make_spectra(300, random_state=0)
    >>> base = SpectrumEmulator(arch="payne", max_steps=300, random_state=0)
    >>> base = base.fit(grid.data[:200], grid.target[:200])
    >>> tuned = FineTunedEmulator(base, max_steps=100, random_state=0)
    >>> tuned = tuned.fit(grid.data[200:], grid.target[200:])
    >>> tuned.predict(grid.data[:3]).shape
    (3, 257)
    """

    def __init__(
        self,
        base,
        *,
        wavelength=None,
        medium=None,
        resolving_power=None,
        label_names=None,
        label_units=None,
        rehearse=None,
        freeze=(),
        max_steps=None,
        recipe=None,
        validation_fraction=0.1,
        callbacks=None,
        checkpoint=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.base = base
        self.wavelength = wavelength
        self.medium = medium
        self.resolving_power = resolving_power
        self.label_names = label_names
        self.label_units = label_units
        self.rehearse = rehearse
        self.freeze = freeze
        self.max_steps = max_steps
        self.recipe = recipe
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_clone__(self):
        """Clone all but the base, which would lose its training, and large arrays."""
        parameters = self.get_params(deep=False)
        shared = {name: parameters.pop(name) for name in ("base", "rehearse")}
        copies = {name: clone(value, safe=False) for name, value in parameters.items()}
        return type(self)(**shared, **copies)

    def _plan(self, X, y, description):
        base = _open(self.base)
        self._describe(base, X, y, description)
        labels, flux = self._rehearsed(X, y)
        self._rehearsal_fingerprint = fingerprint(labels, flux)
        source = match_labels(base, self.label_names_)
        network = resolve_network(base.arch_)
        self.arch_, self.arch_params_ = base.arch_, base.arch_params_
        self.provenance_ = {
            "fine_tuned_from": {
                "training_spectra": base.n_training_,
                "training_steps": base.n_steps_,
                **base.provenance_,
            }
        }
        self.recipe_ = resolve_recipe(
            base.arch_,
            network,
            self.recipe,
            self.max_steps,
            default=gentle_recipe(base.arch_, network),
        )
        self._scaling = transfer_scaling(base, X, source, self.wavelength_)
        scaling = (base._scaling.label_center, base._scaling.label_half_width)
        weights = map(np.atleast_1d, base._network_state().values())
        self._base_fingerprint = fingerprint(*scaling, *weights)

        def build(n_labels, log_wavelength):
            network, arch_params = build_network(
                base.arch_,
                n_labels,
                log_wavelength,
                *transfer_options(base, self._scaling, self.label_names_),
            )
            transfer_weights(network, base, source, self.wavelength_)
            freeze(network, self.freeze)
            return network, arch_params

        return build, (np.concatenate([X, labels]), stack_flux(y, flux))

    def _settings(self):
        return super()._settings() | {
            "base": self._base_fingerprint,
            "freeze": repr(tuple(self.freeze)),
            "rehearse": self._rehearsal_fingerprint,
            "label_names": repr(self.label_names_),
        }

    def _rehearsed(self, X, y):
        """Labels and flux to be rehearsed, none if nothing is given."""
        if self.rehearse is None:
            return X[:0], np.empty((0, y.shape[1]), y.dtype)
        if not isinstance(self.rehearse, StoredGrid):
            return _checked_rehearsal(self.rehearse, X, y)
        for name in ("label_names", "wavelength", "medium"):
            known, new = getattr(self.rehearse, name), getattr(self, name + "_")
            if new is not None and not np.array_equal(known, new):
                raise ValueError(
                    f"`rehearse` must have the `{name}` of the new spectra; the grid "
                    f"'{self.rehearse.path}' has others. Pass a tuple of labels and "
                    "flux that were made to fit."
                )
        return _checked_rehearsal((self.rehearse.data, self.rehearse.target), X, y)

    def _describe(self, base, X, y, description):
        """Set wavelengths and labels, which are those of the base unless given."""
        wavelength, medium, names, units = description
        wavelength = base.wavelength_ if wavelength is None else wavelength
        medium = base.medium_ if medium is None else medium
        self.wavelength_, self.medium_ = check_grid(wavelength, medium, y.shape[1])
        power = self.resolving_power
        power = base.resolving_power_ if power is None else power
        self.resolving_power_ = check_resolving_power(power)
        if base.wavelength_ is None and self.wavelength_ is not None:
            raise ValueError(
                "`wavelength` cannot be given, as `base` was trained without. Leave it "
                "out, or train `base` again with `wavelength=` and `medium=`."
            )
        takes_wavelength = getattr(
            resolve_network(base.arch_), "takes_wavelength", False
        )
        if (
            self.wavelength_ is None
            and not takes_wavelength
            and y.shape[1] != base.n_outputs_
        ):
            raise ValueError(
                f"`y` must have the {base.n_outputs_} columns of `base`, which knows "
                f"no wavelengths; got {y.shape[1]}."
            )
        if None not in (self.medium_, base.medium_) and self.medium_ != base.medium_:
            raise ValueError(
                f"`medium` must be that of `base`, {base.medium_!r}; got "
                f"{medium!r}. Convert the wavelengths with "
                "sk_payne.spectra.convert_medium."
            )
        columns = getattr(self, "feature_names_in_", None)
        if names is None and columns is None and X.shape[1] == base.n_features_in_:
            names = base.label_names_
        self.label_names_ = resolve_label_names(names, columns, X.shape[1])
        if units is None:
            known = dict(zip(base.label_names_, base.label_units_, strict=True))
            units = [known.get(name, "") for name in self.label_names_]
        self.label_units_ = resolve_label_units(units, self.label_names_)


def _checked_rehearsal(rehearse, X, y):
    """Labels and flux that fit the new ones."""
    try:
        labels, flux = rehearse
        labels = np.asarray(labels).astype(X.dtype)
        flux = flux if is_streamed(flux) else np.asarray(flux).astype(y.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`rehearse` must be a tuple of labels and flux; got "
            f"{type(rehearse).__name__}."
        ) from error
    if labels.shape[1:] != X.shape[1:] or flux.shape != (len(labels), y.shape[1]):
        raise ValueError(
            f"`rehearse` must have the {X.shape[1]} labels and {y.shape[1]} wavelengths"
            f" of `X` and `y`; got {labels.shape} and {flux.shape}."
        )
    finite = np.isfinite(labels).all()
    if is_streamed(flux):
        flux = StreamedFlux(flux, "rehearse")
    else:
        finite &= np.isfinite(flux).all()
    if not finite:
        raise ValueError(
            "`rehearse` must be finite; leave out spectra with NaN or infinity."
        )
    return labels, flux


def _open(base):
    while isinstance(base, FrozenEstimator):
        base = base.estimator
    if isinstance(base, str | os.PathLike):
        return load(base)
    if not isinstance(base, BaseEmulator):
        raise TypeError(
            "`base` must be a fitted SpectrumEmulator or FineTunedEmulator, or the "
            f"path of a saved one; got {type(base).__name__}."
        )
    check_is_fitted(base)
    return base
