"""Token response: dependence of each token of a transformer on each label."""

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from sklearn.utils import Bunch
from torch.func import jacfwd, vmap
from torch.nn import functional as F

from sk_payne.inspection._axes import draw_matrix
from sk_payne.inspection._display import BunchDisplay
from sk_payne.inspection._opened import (
    open_emulator,
    require_transformer,
    varied_labels,
)
from sk_payne.networks import pixel_blocks

__all__ = ["TokenResponseDisplay", "token_response"]


def token_response(emulator, P):
    r"""Mean dependence of each parameter token on each label [1]_.

    .. math:: R_{kl} = \Big\langle \frac{1}{\sqrt{E}}
        \Big\| \frac{\partial t_k}{\partial p_l} \Big\| \Big\rangle ,

    the mean over spectra. Tokens :math:`t_k` of E channels are normalised to a root
    mean square of one, as the layers of attention take them, and labels are in units of
    half the training box. A response of 1 is a change by the length of the token over
    half the box, if the dependence is linear. The weights of the norms in layers of the
    "post" form are left out.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted transformer.
    P : array-like of shape (n_spectra, n_labels)
        Stellar parameters to average over.

    Returns
    -------
    response : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        response : ndarray of shape (n_tokens, n_varied)
            Response :math:`R_{kl}`.
        label_names : list of str
            Labels of the columns: those that varied in training.
        token_order : ndarray of shape (n_tokens,), int
            Order of the rows in which similar ones are neighbours.
        label_order : ndarray of shape (n_varied,), int
            Order of the columns in which similar ones are neighbours.
        n_spectra : int
            Number of spectra.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If the emulator is no transformer, or no label varied.

    See Also
    --------
    sensitivity : Derivatives of the flux by labels, for every architecture.

    Notes
    -----
    The order is that of the leaves of a hierarchical clustering (average linkage,
    optimal leaf ordering) of rows and of columns divided by their norms.

    References
    ----------
    .. [1] Różański, Ting & Jabłońska, "TransformerPayne", arXiv:2407.05751. The paper
       shows a map without its formula; the definition above is ours.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import token_response
    >>> grid = make_spectra(50, n_wavelengths=31, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="transformer", arch_params={"width": 16, "n_layers": 2, "n_tokens": 3},
    ...     label_names=grid.label_names, max_steps=20, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> token_response(emulator, grid.data).response.shape
    (3, 5)
    """
    module, labels = open_emulator(emulator, P)
    network = require_transformer(module, "`token_response`")
    varied = varied_labels(emulator)
    if not varied.any():
        raise ValueError(
            "`emulator` must know how flux depends on a label; got one trained on "
            "spectra whose labels are all the same."
        )
    n_tokens = network.tokens[-1].unflattened_size[0]
    total = labels.new_zeros(n_tokens, labels.shape[1])
    size = labels.shape[1] * network.tokens[-2].out_features
    for block in pixel_blocks(len(labels), size, labels.device):
        slopes = vmap(jacfwd(lambda star: _tokens(network, star)))(labels[block])
        total += slopes.square().mean(dim=2).sqrt().sum(dim=0)
    response = (total / len(labels)).cpu().numpy()[:, varied]
    return Bunch(
        response=response,
        label_names=[
            n for n, v in zip(emulator.label_names_, varied, strict=True) if v
        ],
        token_order=leaf_order(response),
        label_order=leaf_order(response.T),
        n_spectra=len(labels),
    )


def _tokens(network, labels):
    """Tokens of one star, normalised as in the layers."""
    tokens = network.tokens(labels)
    if network.residual == "pre":
        return F.rms_norm(tokens, tokens.shape[-1:], eps=network.norm_eps)
    return F.layer_norm(tokens, tokens.shape[-1:])


def leaf_order(rows):
    """Order of rows in which similar ones are neighbours."""
    if len(rows) < 2:
        return np.arange(len(rows))
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(norm > 0, norm, 1.0)
    return leaves_list(linkage(unit, "average", optimal_ordering=True))


class TokenResponseDisplay(BunchDisplay):
    """Map of tokens and labels, sorted so that similar ones are neighbours.

    Parameters
    ----------
    response : Bunch
        Result of :func:`token_response`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the map.
    image_ : matplotlib AxesImage
        The map, sorted.
    figure_ : matplotlib Figure
        Figure of the map; :meth:`plot` sets all.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from sk_payne.inspection import TokenResponseDisplay
    >>> display = TokenResponseDisplay(Bunch(
    ...     response=np.eye(2), label_names=["teff", "Fe_H"], n_spectra=1,
    ...     token_order=np.array([1, 0]), label_order=np.array([0, 1]),
    ... ))
    >>> display.sorted_response
    array([[0., 1.],
           [1., 0.]])
    """

    _compute = staticmethod(token_response)

    def __init__(self, response):
        self.response = response

    @property
    def sorted_response(self):
        """Response in the order of the map, of shape (n_tokens, n_varied)."""
        r = self.response
        return r.response[np.ix_(r.token_order, r.label_order)]

    def plot(self, ax=None, *, image_kwargs=None):
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure.
        image_kwargs : dict, default=None
            Style of the image.

        Returns
        -------
        display : TokenResponseDisplay
            Itself.
        """
        r = self.response
        n_tokens, n_labels = r.response.shape
        size = max(3.4, 0.3 * n_labels + 2.2), max(2.6, 0.24 * n_tokens + 1.4)
        ax = self._on_axes(ax, size)
        self.image_ = draw_matrix(
            ax,
            self.sorted_response,
            [str(i) for i in r.token_order],
            [r.label_names[i] for i in r.label_order],
            **{"cmap": "magma", "vmin": 0, "aspect": "auto"} | (image_kwargs or {}),
        )
        ax.set(ylabel="token", title="response of tokens to labels")
        self.figure_.colorbar(self.image_, ax=ax, label="change per half of the box")
        return self
