"""FineTunedEmulator: a trained emulator that learns another grid from few spectra."""

import os
from dataclasses import replace

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from sk_payne.emulators._base import BaseEmulator
from sk_payne.emulators._flux import fingerprint, stack_flux
from sk_payne.emulators._loading import load
from sk_payne.emulators._plan import Plan, describe, identify
from sk_payne.emulators._training_set import read_like
from sk_payne.emulators._transfer import (
    freeze,
    match_labels,
    transfer_options,
    transfer_scaling,
    transfer_weights,
)
from sk_payne.grids import StoredGrid
from sk_payne.networks import build_network, default_recipe
from sk_payne.trained import arch_name


class FineTunedEmulator(BaseEmulator):
    """Emulator that starts from a trained one.

    The network of the base is trained further on new spectra, usually far fewer than a
    training from scratch needs. At the first step it predicts the flux of the base:
    labels are scaled as in the base, and a label that is new or was constant there has
    no influence until it is learned, except through the chemistry of the opacity
    network. The base is never changed.

    Parameters
    ----------
    base : SpectrumEmulator, FineTunedEmulator or path-like
        A fitted emulator, or a file or folder that its ``save`` wrote.
    wavelength : array-like of shape (n_wavelengths,), default=None
        Wavelengths of the columns of F in Å. If None, those of the base. A transformer
        takes any; dense networks are interpolated, within the range of the base; the
        convolutional network can only stay on its grid.
    medium : {"air", "vacuum"}, default=None
        Medium of the wavelengths. If None, that of the base; it must not differ.
    resolving_power : float, default=None
        Resolving power of the spectra. If None, that of the base.
    label_names : sequence of str, default=None
        Names of the columns of P. If None, those of a DataFrame, else those of the
        base. Labels are matched by name (by position if those of the base have no
        names), in any order; all labels of the base must be among them.
    label_units : sequence of str or dict, default=None
        astropy units of the labels. If None, those of the base.
    rehearse : tuple of array-like or StoredGrid, default=None
        Old spectra to keep in training so that the network does not forget them:
        (labels, flux), columns as in X and y, or by name. Held-out errors, box and
        domain remain those of the new spectra alone. Flux on disk is read in batches.
    freeze : sequence of str, default=()
        Patterns of names of the weights that are not trained, such as
        ``("layers.*",)``; names are those of
        ``to_torch().network.named_parameters()``.
    max_steps : int, default=None
        Optimisation steps; if None, those of the recipe.
    recipe : Recipe or dict, default=None
        Entries to change of the recipe for fine-tuning, which is that of the
        architecture with a third of the learning rate and half of the steps.
    validation_fraction : float, default=0.1
        Fraction of the spectra that is held out from training, drawn at random.
    callbacks : list, default=None
        Further skorch callbacks.
    checkpoint : path-like, default=None
        As in :class:`SpectrumEmulator`.
    device : str, default="auto"
        "auto" is an accelerator if there is one, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the held-out spectra and the batches.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    label_names_, label_units_ : list of str
        Names and units of the columns of P.
    wavelength_ : ndarray of shape (n_wavelengths,) or None
        Training grid in Å.
    medium_ : {"air", "vacuum"} or None
        Medium of the training grid.
    resolving_power_ : float or None
        Resolving power of the spectra.
    label_low_, label_high_ : ndarray of shape (n_labels,)
        Smallest and largest value of each label in the new spectra: the training box.
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
        Facts about the base.
    arch_, arch_params_, recipe_, device_, n_features_in_, feature_names_in_
        As in :class:`SpectrumEmulator`.
    trained_, net_
        As in :class:`SpectrumEmulator`.

    See Also
    --------
    SpectrumEmulator : Trains from scratch.

    Notes
    -----
    While a network learns a few new spectra, it forgets the old ones. `rehearse` keeps
    old spectra in the training; a batch then holds old and new ones in the ratio of
    their numbers.

    Clones share the base and the rehearsed spectra, so that cross-validation and
    learning curves start every training from them. A saved fine-tuned emulator does
    not need its base: loading gives a :class:`SpectrumEmulator`.

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

    # the base is fitted, and rehearsed spectra may be many
    _shared = ("base", "rehearse")

    def get_params(self, deep=True):
        """Parameters of the constructor.

        Parameters
        ----------
        deep : bool, default=True
            Not used: the parameters of the base cannot be set.

        Returns
        -------
        params : dict
            Values by name.
        """
        return super().get_params(deep=False)

    def _plan(self, spectra):
        base = _open(self.base)
        spectra = self._like_base(base, spectra)
        power = self.resolving_power
        power = base.description.resolving_power if power is None else power
        description = describe(spectra, power)
        _check_columns(base, spectra, description)
        source = match_labels(base, description.label_names)
        spectra = replace(spectra, label_names=description.label_names)
        labels, flux = self._rehearsed(spectra, description)
        gentle = default_recipe(base.arch).gentle()
        recipe = gentle.changed(self.recipe, self.max_steps)
        scaling = transfer_scaling(base, spectra.labels, source, description.wavelength)
        weights = base.weights

        def build():
            options, label_scale = transfer_options(base, scaling, description)
            network, network_params = build_network(
                base.arch,
                spectra.labels.shape[1],
                description.log_wavelength,
                options,
                label_scale,
            )
            transfer_weights(network, base, source, description.wavelength)
            freeze(network, self.freeze)
            return network, network_params

        rehearsed = () if flux is None else (labels, flux)
        old = (base.scaling.label_center, base.scaling.label_half_width)
        return Plan(
            arch=base.arch,
            arch_params=base.arch_params,
            description=description,
            scaling=scaling,
            recipe=recipe,
            build=build,
            labels=np.concatenate([spectra.labels, labels]),
            flux=stack_flux(spectra.flux, flux),
            new=spectra.flux,
            identity=identify(
                self,
                spectra,
                description,
                recipe,
                arch=arch_name(base.arch),
                base=fingerprint(*old, *map(np.atleast_1d, weights.values())),
                freeze=repr(tuple(self.freeze)),
                rehearse=fingerprint(*rehearsed),
            ),
            provenance={
                "fine_tuned_from": {
                    "training_spectra": base.training.n_training,
                    "training_steps": base.training.n_steps,
                    **base.provenance,
                }
            },
        )

    def _like_base(self, base, spectra):
        """Training set whose missing names, units and wavelengths are the base's."""
        old = base.description
        names, units = spectra.label_names, spectra.label_units
        if names is None and spectra.labels.shape[1] == len(old.label_names):
            names = old.label_names
        if units is None and names is not None:
            old_units = dict(zip(old.label_names, old.label_units, strict=True))
            units = [old_units.get(name, "") for name in names]
        return replace(
            spectra,
            label_names=names,
            label_units=units,
            wavelength=(
                old.wavelength if spectra.wavelength is None else spectra.wavelength
            ),
            medium=old.medium if spectra.medium is None else spectra.medium,
        )

    def _rehearsed(self, spectra, description):
        """Labels and flux to rehearse; no rows and None if there are none."""
        if self.rehearse is None:
            return spectra.labels[:0], None
        if not isinstance(self.rehearse, StoredGrid):
            try:
                labels, flux = self.rehearse
            except (TypeError, ValueError) as error:
                raise ValueError(
                    "`rehearse` must be a tuple of labels and flux; got "
                    f"{type(self.rehearse).__name__}."
                ) from error
            return read_like(spectra, labels, flux, "rehearse")
        for name in ("label_names", "wavelength", "medium"):
            old, new = getattr(self.rehearse, name), getattr(description, name)
            if new is not None and not np.array_equal(old, new):
                raise ValueError(
                    f"`rehearse` must have the `{name}` of the new spectra; the grid "
                    f"'{self.rehearse.path}' has others. Pass a tuple of labels and "
                    "flux that were made to fit."
                )
        return read_like(spectra, self.rehearse.data, self.rehearse.target, "rehearse")


def _check_columns(base, spectra, description):
    """Check that the base can be moved to the wavelengths of the new spectra."""
    old, n_columns = base.description, spectra.flux.shape[1]
    if old.wavelength is None and description.wavelength is not None:
        raise ValueError(
            "`wavelength` cannot be given, as `base` was trained without. Leave it "
            "out, or train `base` again with `wavelength=` and `medium=`."
        )
    if (
        description.wavelength is None
        and not base.module.takes_wavelength
        and n_columns != old.n_wavelengths
    ):
        raise ValueError(
            f"`y` must have the {old.n_wavelengths} columns of `base`, which knows "
            f"no wavelengths; got {n_columns}."
        )
    if None not in (description.medium, old.medium) and description.medium != (
        old.medium
    ):
        raise ValueError(
            f"`medium` must be that of `base`, {old.medium!r}; got "
            f"{description.medium!r}. Convert the wavelengths with "
            "sk_payne.spectra.convert_medium."
        )


def _open(base):
    """Trained emulator of a base: an estimator, frozen or not, or a path."""
    while isinstance(base, FrozenEstimator):
        base = base.estimator
    if isinstance(base, str | os.PathLike):
        base = load(base)
    if not isinstance(base, BaseEmulator):
        raise TypeError(
            "`base` must be a fitted SpectrumEmulator or FineTunedEmulator, or the "
            f"path of a saved one; got {type(base).__name__}."
        )
    check_is_fitted(base)
    return base.trained_
