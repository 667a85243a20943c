"""SpectrumEmulator: stellar parameters to flux, trained from scratch."""

from sk_payne.emulators._base import BaseEmulator
from sk_payne.emulators._plan import Plan, describe, identify
from sk_payne.networks import build_network, default_recipe, resolve_network
from sk_payne.trained import Scaling, arch_name


class SpectrumEmulator(BaseEmulator):
    """Neural emulator of stellar spectra: stellar parameters P to flux F.

    Call it as ``emulator.fit(P, F)`` and ``emulator.predict(P)``. Labels and flux are
    scaled inside. A part of the spectra is held out from training; they give the error
    of the emulator at each wavelength.

    Parameters
    ----------
    arch : str or type, default="bigpayne"
        - "bigpayne": a large dense network. Minutes to train, fast to predict.
        - "opacity": sums of opacities under one curve of growth, with chemistry if
          labels have names of abundances ("teff", "logg", "C_H", ...). The most
          accurate for its number of training spectra; minutes to train.
        - "transformer": TransformerPayne, at any wavelengths; it needs an accelerator
          and long training to be good.
        - "payne": The Payne, a small dense network. The fastest, the least accurate.
        - "convolutional": a dense stem and transposed convolutions.
        - "cannon": The Cannon, a quadratic polynomial for each wavelength.
        - an ``nn.Module`` class, see :mod:`sk_payne.networks`.
    arch_params : dict, default=None
        Options of the architecture, such as ``{"width": 256}``.
    wavelength : array-like of shape (n_wavelengths,), default=None
        Wavelengths of the columns of F in Å, increasing. If None, those of a stored
        grid; without one, columns are pixels, and methods that need wavelengths raise
        an error.
    medium : {"air", "vacuum"}, default=None
        Medium of `wavelength`; must be given with it.
    resolving_power : float or sequence of float, default=None
        Resolving power of the training spectra: wavelength over full width at half
        maximum of the Gaussian line-spread function, infinite without one. One number,
        or one for each wavelength, or one for each segment of a grid with gaps (two
        arms). Needed to measure spectra of another resolving power.
    label_names : sequence of str, default=None
        Names of the columns of P. If None, those of a DataFrame or a stored grid,
        else "label_0" ...
    label_units : sequence of str or dict, default=None
        astropy units of the labels, such as "K" and "dex", for all or by name. If
        None, those of a stored grid.
    max_steps : int, default=None
        Optimisation steps; if None, those of the recipe.
    recipe : Recipe or dict, default=None
        Entries of the :class:`Recipe` to change, such as ``{"lr": 3e-4}``. Entries of
        `recipe` and of `arch_params` are parameters as well, for ``set_params`` and
        searches: ``recipe__lr``, ``arch_params__n_hidden``.
    validation_fraction : float, default=0.1
        Fraction of the spectra that is held out from training, drawn at random.
    callbacks : list, default=None
        Further skorch callbacks, such as ``skorch.callbacks.Checkpoint``.
    checkpoint : path-like, default=None
        A file for the state of the training after every ``validate_every`` steps. If
        it exists, `fit` continues from it, with the result of an uninterrupted
        training; it is removed at the end.
    device : str, default="auto"
        "auto" is an accelerator if there is one, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of the first weights, the held-out spectra and the batches.
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
    resolving_power_ : float, ndarray of shape (n_wavelengths,) or None
        Resolving power of the spectra.
    label_low_, label_high_ : ndarray of shape (n_labels,)
        Smallest and largest value of each label: the training box.
    held_out_mae_, held_out_rms_ : ndarray of shape (n_wavelengths,) or None
        Mean absolute and root mean square error of the flux at each wavelength on the
        held-out spectra; None if nothing was held out.
    held_out_label_edges_ : ndarray of shape (n_labels, 5) or None
        Quartiles of the labels of the held-out spectra, with minimum and maximum.
    held_out_label_mae_ : ndarray of shape (n_labels, 4) or None
        Mean absolute error of the held-out spectra in each quarter of every label.
    n_outputs_ : int
        Number of wavelengths.
    n_training_, n_held_out_ : int
        Spectra trained on and held out.
    n_steps_ : int
        Optimisation steps taken.
    history_ : list of dict
        Losses of scaled flux after every ``validate_every`` steps.
    arch_ : str or type
        The architecture.
    arch_params_ : dict
        All options that the network was built with.
    recipe_ : Recipe or None
        The recipe in full; None if the network was trained elsewhere.
    provenance_ : dict
        Provenance that was saved with the emulator; empty if it was not loaded.
    device_ : str
        Device of the network.
    trained_ : TrainedEmulator
        All of the above in one immutable object.
    net_ : skorch.NeuralNet
        The trained net; not kept by pickling or saving.
    n_features_in_ : int
        Number of labels.
    feature_names_in_ : ndarray of str
        Columns of P, if it was a DataFrame.

    See Also
    --------
    FineTunedEmulator : Starts from a trained emulator.
    AbundanceRegressor : Measures stars with an emulator.

    Notes
    -----
    `predict` works in the precision of P: float64 by default, which is precise enough
    for numerical derivatives and gives a star the same flux in any batch, or float32,
    which is twice as fast. Accelerators always compute in float32.

    Flux on disk gives the same emulator as flux in memory. If `torch.distributed` is
    initialised, as by ``torchrun``, each process takes its part of every batch, and all
    end with the same emulator; each must be given the same spectra. See
    :doc:`/scaling_out`.

    References
    ----------
    .. [1] Różański, Ting & Jabłońska, "TransformerPayne", arXiv:2407.05751.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> grid = make_spectra(200, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
    ...     label_names=grid.label_names, max_steps=200, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> emulator.predict(grid.data[:3]).shape
    (3, 257)
    >>> bool(emulator.held_out_mae_.mean() < 0.1)
    True
    """

    def __init__(
        self,
        arch="bigpayne",
        *,
        arch_params=None,
        wavelength=None,
        medium=None,
        resolving_power=None,
        label_names=None,
        label_units=None,
        max_steps=None,
        recipe=None,
        validation_fraction=0.1,
        callbacks=None,
        checkpoint=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.arch = arch
        self.arch_params = arch_params
        self.wavelength = wavelength
        self.medium = medium
        self.resolving_power = resolving_power
        self.label_names = label_names
        self.label_units = label_units
        self.max_steps = max_steps
        self.recipe = recipe
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _plan(self, spectra):
        network = resolve_network(self.arch)
        description = describe(spectra, self.resolving_power)
        recipe = default_recipe(self.arch).changed(self.recipe, self.max_steps)
        scaling = Scaling.from_training(
            spectra.labels, spectra.flux, per_wavelength=not network.takes_wavelength
        )

        def build():
            return build_network(
                self.arch,
                spectra.labels.shape[1],
                description.log_wavelength,
                self.arch_params,
                scaling.describe_labels(description.label_names),
            )

        return Plan(
            arch=self.arch,
            arch_params=self.arch_params,
            description=description,
            scaling=scaling,
            recipe=recipe,
            build=build,
            labels=spectra.labels,
            flux=spectra.flux,
            new=spectra.flux,
            identity=identify(
                self,
                spectra,
                description,
                recipe,
                arch=arch_name(self.arch),
                arch_params=repr(self.arch_params),
            ),
            provenance={},
        )

    @classmethod
    def from_trained(cls, trained):
        """Make an estimator of a trained emulator.

        Parameters
        ----------
        trained : TrainedEmulator
            Result of a training.

        Returns
        -------
        emulator : SpectrumEmulator
            Fitted; its parameters repeat the training.

        Examples
        --------
        >>> from sk_payne import SpectrumEmulator
        >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
        >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
        >>> SpectrumEmulator.from_trained(emulator.trained_).n_steps_
        2
        """
        description, recipe = trained.description, trained.training.recipe
        return cls(
            arch=trained.arch,
            arch_params=trained.arch_params,
            wavelength=description.wavelength,
            medium=description.medium,
            resolving_power=description.resolving_power,
            label_names=description.label_names,
            label_units=description.label_units,
            recipe=None if recipe is None else recipe.to_dict(),
            **trained.training.options,
        )._become(trained)
