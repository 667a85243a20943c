"""CalibrationDisplay: calibration of errors, for each label and jointly."""

import numpy as np
from scipy import stats

from sk_payne.inspection._axes import chosen_labels, chosen_snr
from sk_payne.inspection._display import Display
from sk_payne.recovery import mock_recovery, rank_table

__all__ = ["CalibrationDisplay"]

# In inches: width of the figure, heights of a panel and of the row of a label, margin.
_WIDTH, _PANEL, _ROW, _MARGIN = 4.4, 2.7, 0.23, 1.0

# Probability of the confidence bands.
_BAND = 0.95

# Expected coverage in percent, style, and name of the intervals.
_REGIONS = {
    "68": (68.27, {"color": "C0", "marker": "o"}, "68 % intervals"),
    "95": (95.45, {"color": "C1", "marker": "s"}, "95 % intervals"),
}

# Largest number of labels with a name in the panel of ranks.
_NAMED = 6


class CalibrationDisplay(Display):
    """Coverage of labels, joint distances, ranks and expected coverage of stars.

    Four panels below each other, for a narrow page. If errors are right, 95 % of the
    points in the first panel and 95 % of the curves in the others lie within their
    shaded bands.

    1. Fraction of the stars whose true value is in the 68 and 95 % intervals, for each
       label.
    2. Cumulative distribution of the probabilities of the joint distances, at each S/N.
       It is the diagonal if the covariances are right. Below the diagonal at 0.68, the
       joint 68 % region contains too few stars.
    3. Cumulative distribution of the ranks of each label minus the diagonal. Labels
       whose curve leaves the band have a colour and a name. If a curve is first above
       and then below zero, errors are too small; if it is above zero everywhere, values
       are too high.
    4. Expected coverage of the joint posterior against its credibility (TARP), at each
       S/N.

    Parameters
    ----------
    snr : ndarray of shape (n_snr,)
        Signal-to-noise ratios.
    label_names : list of str
        Names of the parameters.
    rank : ndarray of shape (n_snr, n_stars, n_parameters)
        Rank of the true value: probability below it in the estimated distribution.
    joint, tarp : ndarray of shape (n_snr, n_stars)
        Probabilities of the joint distances, and levels of TARP.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (4,)
        The panels.
    figure_ : matplotlib Figure
        Figure of the plot; :meth:`plot` sets both.

    See Also
    --------
    sk_payne.recovery.rank_table : The numbers for each label.
    sk_payne.recovery.joint_table : The numbers for all labels together.
    MockRecoveryDisplay : Bias, scatter and pulls against S/N.

    Notes
    -----
    Bands of coverage follow from the binomial distribution, bands of curves from the
    Kolmogorov-Smirnov statistic: of 20 curves of right errors, one leaves its band.

    Examples
    --------
    >>> import sk_payne
    >>> from sk_payne.inspection import CalibrationDisplay
    >>> regressor = sk_payne.AbundanceRegressor(sk_payne.load("dwarfs-4500-4600"))
    >>> display = CalibrationDisplay.from_estimator(
    ...     regressor, snr=100, n_stars=5, random_state=0
    ... )
    >>> display.joint.shape
    (1, 5)
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
            Fitted, or with a fitted emulator.
        labels : array-like of shape (n_stars, n_labels), default=None
            Labels of the stars; random if None.
        of : {"fit", "samples"}, default="fit"
            As in :meth:`from_recovery`.
        **options : dict
            Further arguments of :func:`sk_payne.recovery.mock_recovery`.

        Returns
        -------
        display : CalibrationDisplay
            The display, not drawn yet.
        """
        return cls.from_recovery(mock_recovery(regressor, labels, **options), of=of)

    @classmethod
    def from_recovery(cls, recovery, *, of="fit"):
        """Make a display of a recovery.

        Parameters
        ----------
        recovery : Bunch
            Result of :func:`sk_payne.recovery.mock_recovery`.
        of : {"fit", "samples"}, default="fit"
            Whether ranks are those in the estimated errors or in posterior samples.

        Returns
        -------
        display : CalibrationDisplay
            The display, not drawn yet.

        Raises
        ------
        ValueError
            If `of` is "samples" and the recovery has none.
        """
        rank_table(recovery, of=of)  # checks that the recovery has these ranks
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
            Parameters to draw; if None, all.

        Returns
        -------
        display : CalibrationDisplay
            Itself.

        Raises
        ------
        ValueError
            If `snr` or one of `labels` is not in the recovery.
        """
        labels = chosen_labels(labels, self.label_names)
        snr = chosen_snr(snr, self.snr)
        columns = [self.label_names.index(name) for name in labels]
        rank = self.rank[self.snr.tolist().index(snr)][:, columns]
        heights = [_ROW * max(len(labels) + 2, 7), _PANEL, _PANEL, _PANEL]
        size = _WIDTH, sum(heights) + _MARGIN
        self._on_panels(ax, 4, figsize=size, height_ratios=heights)
        _draw_coverage(self.ax_[0], rank, labels)
        _draw_levels(self.ax_[1], self.joint, self.snr)
        _draw_ranks(self.ax_[2], rank, labels)
        _draw_levels(self.ax_[3], self.tarp, self.snr)
        for panel, title, xlabel, ylabel in zip(
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
            panel.set_xlabel(xlabel)
            panel.set_ylabel(ylabel)
        return self


def _draw_coverage(panel, rank, labels):
    """Draw the coverage of each label in a row, with the band of right errors."""
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
    """Draw cumulative distributions of levels at each S/N, and a diagonal band."""
    _draw_band(panel, np.isfinite(levels).sum(axis=1).min(), 1)
    panel.plot([0, 1], [0, 1], color="0.5", lw=0.8, ls="--")
    for one, level in zip(snr, levels, strict=True):
        level, part = _cumulative(level)
        panel.step(level, part, where="post", lw=1.2, label=f"S/N {one:g}")
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    panel.legend(fontsize="small", loc="upper left")


def _draw_ranks(panel, rank, labels):
    """Draw cumulative distributions of ranks minus the diagonal; name the worst."""
    n = np.isfinite(rank).sum(axis=0)
    half = _draw_band(panel, n.min(), 0)
    panel.axhline(0, color="0.5", lw=0.8, ls="--")
    curves = [_cumulative(one) for one in rank.T]

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
    """Shade the band of right curves of n levels; return its half width."""
    half = stats.kstwo.ppf(_BAND, max(n, 1))
    x = np.linspace(0, 1, 201)
    low, high = np.clip(x - half, 0, 1), np.clip(x + half, 0, 1)
    shift = (1 - slope) * x
    panel.fill_between(x, low - shift, high - shift, color="0.5", alpha=0.2, lw=0)
    return half


def _cumulative(level):
    """Sorted levels from 0 to 1, and the fraction of all levels up to each."""
    level = np.sort(level[np.isfinite(level)])
    part = np.arange(len(level) + 1) / max(len(level), 1)
    return np.r_[0.0, level, 1.0], np.r_[part, 1.0]


def _reach(level, part):
    """Largest distance of a cumulative distribution from the diagonal."""
    # a step is highest at its end and lowest at its beginning
    return max(np.max(part - level), np.max(level[1:] - part[:-1]))
