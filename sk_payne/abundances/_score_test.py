r"""Score test of residuals, which resemble model spectra in a wrong minimum of chi2.

chi2 of thousands of pixels can hide a wrong fit that its residuals reveal.
"""

import torch

from sk_payne.abundances._normal_matrix import invert_normal_matrix

__all__ = ["Directions", "score_excess"]

# Number of principal components of model spectra that residuals are compared with.
_N_DIRECTIONS = 32

# Directions are ignored if the fit leaves less than this fraction of their square.
_LEFT = 1e-4


class Directions:
    """Principal components of model spectra, at any wavelengths.

    Parameters
    ----------
    grid : ndarray of shape (n_grid,) or None
        Wavelengths of the templates in Å; None if spectra are never shifted.
    templates : ndarray of shape (M, n_grid)
        Model spectra.
    device : torch.device
        Device of the components.
    """

    def __init__(self, grid, templates, device):
        centred = torch.tensor(templates - templates.mean(0), device="cpu")
        # from the matrix of products, as there are fewer models than wavelengths
        _, vector = torch.linalg.eigh(centred @ centred.mT)
        components = vector[:, -_N_DIRECTIONS:].mT @ centred
        self.components = components.to(device)
        self.grid = None if grid is None else torch.from_numpy(grid).to(device)

    def __call__(self, wavelength):
        """Interpolate the directions linearly.

        Parameters
        ----------
        wavelength : Tensor of shape (B, P) or None
            Rest wavelengths in Å; None for those of the grid, for any stars.

        Returns
        -------
        directions : Tensor of shape (B, 32, P), or (1, 32, n_grid)
            Directions; fewer than 32 if there are fewer templates.
        """
        if wavelength is None:
            return self.components[None]
        right = torch.searchsorted(self.grid, wavelength).clamp(1, len(self.grid) - 1)
        start, end = self.grid[right - 1], self.grid[right]
        part = ((wavelength - start) / (end - start)).clamp(0, 1)[:, None]
        before, after = (
            self.components[:, place].transpose(0, 1) for place in (right - 1, right)
        )
        return before + part * (after - before)


def score_excess(residual, ivar, systematic, jacobian, normal_matrix, free, directions):
    r"""Test whether adding directions to the model would lower chi2 by more than noise.

    With derivatives J of the fit, inverse variances W, residuals r and directions T,
    the scores T W r of a good fit have the mean zero and the covariance

    .. math:: C = T W T^T - T W J^T (J W J^T)^{-1} J W T^T ,

    and :math:`r^T W T^T C^{-1} T W r` follows chi2 of as many degrees of freedom as
    there are directions [1]_. Errors of an emulator are correlated between pixels;
    at worst they add up in a score: the square of their sum is added to its variance.

    Parameters
    ----------
    residual, ivar : Tensor of shape (B, P)
        Residuals of the fits, and inverse variances.
    systematic : Tensor of shape (B, P)
        1 sigma errors that may be correlated between pixels.
    jacobian : Tensor of shape (B, K, P)
        Derivatives of the models.
    normal_matrix : Tensor of shape (B, K, K), float64
        J W J^T and the inverse variances of priors.
    free : Tensor of shape (B, K), bool
        True for parameters that the fit could move.
    directions : Tensor of shape (B, D, P)
        Directions T.

    Returns
    -------
    excess : Tensor of shape (B,)
        Excess of the statistic over its expectation, in standard deviations.

    References
    ----------
    .. [1] Rao, "Large sample tests of statistical hypotheses concerning several
       parameters with applications to problems of estimation", Proc. Camb. Phil. Soc.
       44, 50, 1948.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.abundances._score_test import score_excess
    >>> slope = torch.linspace(-1, 1, 101, dtype=torch.float64)
    >>> one, bend = torch.ones_like(slope), slope**2
    >>> residual = bend - bend.mean()
    >>> fit = one[None, None], 101 * torch.ones(1, 1, 1), torch.ones(1, 1) > 0
    >>> for direction in (bend, slope):
    ...     ivar = torch.ones(1, 101, dtype=torch.float64)
    ...     excess = score_excess(
    ...         residual[None], ivar, 0 * ivar, *fit, direction[None, None]
    ...     )
    ...     print(f"{excess.item():.1f}")
    5.9
    -0.7
    """
    weighted = directions * ivar[:, None]
    score = (weighted @ residual[..., None].to(weighted))[..., 0]
    overlap = (jacobian.to(weighted) @ weighted.mT).double() * free[..., None]
    both = free[:, None] & free[:, :, None]
    normal = normal_matrix * both + torch.diag_embed((~free).double())
    inverse = invert_normal_matrix(normal).nan_to_num(posinf=0.0)
    square = (weighted @ directions.mT).double()
    size = torch.diagonal(square, dim1=1, dim2=2).clamp_min(1e-300).sqrt()
    covariance = square - overlap.mT @ inverse @ overlap
    together = (weighted.abs() @ systematic[..., None].to(weighted))[..., 0].double()
    covariance = covariance + torch.diag_embed(together**2)
    covariance = covariance / (size[:, :, None] * size[:, None])
    value, vector = torch.linalg.eigh(covariance)
    score = (vector.mT @ (score.double() / size)[..., None])[..., 0]
    seen = value > _LEFT
    chi2 = torch.where(seen, score**2 / value, 0.0).sum(1)
    n_seen = seen.sum(1)
    return (chi2 - n_seen) / (2 * n_seen.clamp_min(1)).sqrt()
