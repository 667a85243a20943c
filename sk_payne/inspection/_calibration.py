"""Whether errors of measured stars hold, label by label and jointly."""

import numpy as np
from scipy import stats

from sk_payne.inspection._axes import chosen_labels, import_pyplot
from sk_payne.recovery import mock_recovery, rank_table

__all__ = ["CalibrationDisplay"]

# In inches: width, heights of a panel and of a row of a label, and of what is around.
_WIDTH, _PANEL, _ROW, _AROUND = 4.4, 2.7, 0.23, 1.0

# Probability of the confidence bands.
_BAND = 0.95

# Expected coverage, style, and name of the regions.
_REGIONS = {
    "68": (68.27, {"color": "C0", "marker": "o"}, "68 % intervals"),
    "95": (95.45, {"color": "C1", "marker": "s"}, "95 % intervals"),
}

# Labels whose ranks are named, at most; of them the worst.
_NAMED = 6


class CalibrationDisplay:
    """Coverage of labels, joint distances, ranks and expected coverage of stars.

    Four panels below each other, for a narrow page. Shaded bands hold 95 % of what
    right errors would give: at each label in the first panel, and of whole curves in
    the others.

    1. Part of the stars whose truth is in the 68 and 95 % intervals of each label.
    2. Cumulative distribution of the probabilities of the joint distances, at each S/N:
       the diagonal, if the covariances are right. Where a curve is below it at 0.68,
       the joint 68 % region holds too few stars.
    3. Cumulative distribution of the ranks of each label minus the diagonal. Labels
       whose curve leaves the band have a colour and a name. A curve that is first above
       and then below zero is of errors that are too small; one that is above zero
       everywhere, of values that are too high.
    4. Expected coverage of the joint posterior against its credibility (TARP), at each
       S/N.

    Parameters
    ----------
    snr : ndarray of shape (n_snr,)
        Signal-to-noise ratios.
    label_names : list of str
        Names of the parameters.
    rank : ndarray of shape (n_snr, n_stars, n_parameters)
        Part of the claims that is below the truth.
    joint, tarp : ndarray of shape (n_snr, n_stars)
        Probabilities of the joint distances, and levels of TARP.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (4,)
        The panels.
    figure_ : matplotlib Figure
        Both are set by :meth:`plot`.

    See Also
    --------
    sk_payne.recovery.rank_table : The numbers of the labels.
    sk_payne.recovery.joint_table : Those of all labels together.
    MockRecoveryDisplay : Bias, scatter and pulls against S/N.

    Notes
    -----
    The band of each coverage is that of the binomial distribution. Those of curves are
    of the Kolmogorov-Smirnov statistic: of 20 right curves, one leaves its band.

    Examples
    --------
    >>> from sk_payne import AbundanceRegressor, SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import CalibrationDisplay
    >>> grid = make_spectra(300, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
    ...     label_names=grid.label_names, label_units=grid.label_units,
    ...     max_steps=400, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> display = CalibrationDisplay.from_estimator(
    ...     AbundanceRegressor(emulator), snr=100, n_stars=20, random_state=0
    ... )
    >>> display.joint.shape
    (1, 20)
    """

    def __init__(self, *, snr, label_names, rank, joint, tarp):
        self.snr = np.asarray(snr, dtype=float)
        self.label_names = list(label_names)
        self.rank, self.joint, self.tarp = rank, joint, tarp

    @classmethod
    def from_estimator(cls, regressor, labels=None, *, of="fit", **options):
        """Measure stars of known labels.

        Parameters
        ----------
        regressor : AbundanceRegressor
            Fitted, or around a fitted emulator.
        labels : array-like of shape (n_stars, n_labels), default=None
            Of the stars; drawn if None.
        of : {"fit", "samples"}, default="fit"
            As in :meth:`from_recovery`.
        **options : dict
            For :func:`sk_payne.recovery.mock_recovery`.

        Returns
        -------
        display : CalibrationDisplay
            Not drawn yet.
        """
        return cls.from_recovery(mock_recovery(regressor, labels, **options), of=of)

    @classmethod
    def from_recovery(cls, recovery, *, of="fit"):
        """Take a recovery that was made.

        Parameters
        ----------
        recovery : Bunch
            From :func:`sk_payne.recovery.mock_recovery`.
        of : {"fit", "samples"}, default="fit"
            Whether ranks are those in the errors claimed, or under posterior samples.

        Returns
        -------
        display : CalibrationDisplay
            Not drawn yet.

        Raises
        ------
        ValueError
            If there are no samples.
        """
        rank_table(recovery, of=of)  # refuses ranks that are not there
        return cls(
            snr=recovery.snr,
            label_names=recovery.label_names,
            rank=recovery.rank if of == "fit" else recovery.sample_rank,
            joint=recovery.joint,
            tarp=recovery.tarp,
        )

    def plot(self, ax=None, *, snr=None, labels=None):
        """Draw the four panels.

        Parameters
        ----------
        ax : sequence of 4 matplotlib Axes, default=None
            If None, a new figure.
        snr : float, default=None
            Signal-to-noise ratio of the panels of labels; if None, the largest.
        labels : list of str, default=None
            Which parameters; if None, all.

        Returns
        -------
        display : CalibrationDisplay
            Itself.

        Raises
        ------
        ValueError
            If there are no stars of that `snr`, or no such parameter.
        """
        labels = chosen_labels(labels, self.label_names)
        snr = self.snr.max() if snr is None else snr
        if snr not in self.snr:
            raise ValueError(f"`snr` must be one of {self.snr.tolist()}; got {snr}.")
        own = [self.label_names.index(name) for name in labels]
        rank = self.rank[self.snr.tolist().index(snr)][:, own]
        ax = _new_panels(len(labels)) if ax is None else ax
        self.ax_ = np.asarray(ax, dtype=object).ravel()
        self.figure_ = self.ax_[0].figure
        _draw_coverage(self.ax_[0], rank, labels)
        _draw_levels(self.ax_[1], self.joint, self.snr)
        _draw_ranks(self.ax_[2], rank, labels)
        _draw_levels(self.ax_[3], self.tarp, self.snr)
        for panel, title, along, what in zip(
            self.ax_,
            (
                f"Coverage of each label, S/N {snr:g}",
                "Distance of all labels together",
                f"Ranks of each label, S/N {snr:g}",
                "Expected coverage (TARP)",
            ),
            (
                "stars within [%]",
                "probability of a smaller distance",
                "rank of the truth",
                "credibility",
            ),
            ("", "part of the stars", "part below - rank", "part of the stars"),
            strict=True,
        ):
            panel.set_title(title, fontsize="medium", loc="left")
            panel.set_xlabel(along)
            panel.set_ylabel(what)
        return self


def _draw_coverage(panel, rank, labels):
    """One row for each label, with the binomial band of right errors."""
    y = np.arange(len(labels))
    central = 100 * np.abs(2 * rank - 1)
    n = np.isfinite(rank).sum(axis=0)
    for expected, style, name in _REGIONS.values():
        low, high = stats.binom.interval(_BAND, n, expected / 100)
        with np.errstate(invalid="ignore"):
            low, high, part = (
                100 * k / n for k in (low, high, (central < expected).sum(axis=0))
            )
        panel.barh(y, high - low, left=low, height=0.8, color=style["color"], alpha=0.2)
        panel.axvline(expected, color="0.5", lw=0.8, ls="--", zorder=0)
        panel.plot(part, y, ls="", ms=4.5, label=name, **style)
    panel.set_yticks(y, labels)
    panel.set_ylim(len(labels) + 1.3, -0.5)  # with room for the legend
    panel.set_xlim(left=min(40, panel.get_xlim()[0]), right=101)
    panel.legend(fontsize="small", loc="lower left", ncols=2)


def _draw_levels(panel, levels, snr):
    """Cumulative distributions of levels at each S/N, with a band at the diagonal."""
    _draw_band(panel, np.isfinite(levels).sum(axis=1).min(), 1)
    panel.plot([0, 1], [0, 1], color="0.5", lw=0.8, ls="--")
    for one, level in zip(snr, levels, strict=True):
        level, part = _cumulative(level)
        panel.step(level, part, where="post", lw=1.2, label=f"S/N {one:g}")
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    panel.legend(fontsize="small", loc="upper left")


def _draw_ranks(panel, rank, labels):
    """Cumulative distributions of ranks minus the diagonal, the worst ones named."""
    n = np.isfinite(rank).sum(axis=0)
    half = _draw_band(panel, n.min(), 0)
    panel.axhline(0, color="0.5", lw=0.8, ls="--")
    curves = [_cumulative(one) for one in rank.T]
    # a step is highest at its end, and lowest at its beginning
    reach = np.array([_reach(level, part) for level, part in curves])
    named = np.argsort(-reach)[:_NAMED]
    named = set(named[reach[named] > half].tolist())
    for i, (level, part) in enumerate(curves):
        style = {"color": "0.65", "lw": 0.7, "zorder": 1}
        if i in named:
            style = {"lw": 1.4, "label": labels[i]}
        grid = np.repeat(level, 2)[1:]
        panel.plot(grid, np.repeat(part, 2)[:-1] - grid, **style)
    panel.set_xlim(0, 1)
    limit = 1.15 * max(half, reach.max(initial=0))
    panel.set_ylim(-limit * (2.1 if named else 1), limit)
    if named:
        panel.legend(fontsize="small", ncols=2, loc="lower left")


def _draw_band(panel, n, slope):
    """Shade what right curves of n levels stay within, and give its half width."""
    half = stats.kstwo.ppf(_BAND, max(n, 1))
    x = np.linspace(0, 1, 201)
    low, high = np.clip(x - half, 0, 1), np.clip(x + half, 0, 1)
    shift = (1 - slope) * x
    panel.fill_between(x, low - shift, high - shift, color="0.5", alpha=0.2, lw=0)
    return half


def _cumulative(level):
    """Levels in order from 0 to 1, and the part of all that is not above each."""
    level = np.sort(level[np.isfinite(level)])
    part = np.arange(len(level) + 1) / max(len(level), 1)
    return np.r_[0.0, level, 1.0], np.r_[part, 1.0]


def _reach(level, part):
    """Largest distance of a cumulative distribution from the diagonal."""
    return max(np.max(part - level), np.max(level[1:] - part[:-1]))


def _new_panels(n_labels):
    heights = [_ROW * max(n_labels + 2, 7), _PANEL, _PANEL, _PANEL]
    _, ax = import_pyplot().subplots(
        4,
        1,
        figsize=(_WIDTH, sum(heights) + _AROUND),
        height_ratios=heights,
        layout="constrained",
    )
    return ax
