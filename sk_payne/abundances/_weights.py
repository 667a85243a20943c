"""What pixels weigh once a fit is seen: outliers are clipped, a floor is fitted.

It is here because cosmic rays and wrong lines are no Gaussian noise.
"""

import torch

__all__ = ["reweigh"]

# Median of the square of a standard Gaussian variable.
_MEDIAN = 0.45494


def reweigh(residual, ivar, continuum, n_fitted, *, clip, fit_floor):
    r"""Inverse variances of pixels that a fit leaves some residuals at.

    Errors are :math:`\sqrt{\sigma^2 + s^2 c^2}` with the continuum c. The floor s is
    the smallest for which the median of squared residuals over variances is not above
    that of Gaussian noise, 0.455, less what fitted parameters take away: outliers do
    not matter. Pixels beyond `clip` errors are left out or, where errors are too small
    for the residuals, beyond `clip` robust standard deviations.

    Parameters
    ----------
    residual, ivar, continuum : Tensor of shape (B, P)
        Of stars, their inverse variances without any of that, 0 for pixels to ignore,
        and about their continua.
    n_fitted : Tensor of shape (B,)
        Numbers fitted to each star.
    clip : float or None
        None to leave out nothing.
    fit_floor : bool
        Whether there is a floor.

    Returns
    -------
    ivar : Tensor of shape (B, P)
        To fit with; 0 for clipped pixels.
    floor : Tensor of shape (B,)
        s.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.abundances._weights import reweigh
    >>> residual = torch.tensor([[-1.0, 0.2, 0.7, -0.5, 9.0]])
    >>> one, none = torch.ones(1, 5), torch.zeros(1)
    >>> reweigh(residual, one, one, none, clip=5, fit_floor=False)
    (tensor([[1., 1., 1., 1., 0.]]), tensor([0.]))
    """
    good = ivar > 0
    variance = torch.where(good, 1 / ivar, torch.nan)
    floor = torch.zeros_like(residual[:, 0])
    if fit_floor:
        n_good = good.sum(1)
        left = (n_good - n_fitted).clamp_min(1) / n_good.clamp_min(1)
        missing = residual**2 / (_MEDIAN * left[:, None]) - variance
        floor = _median(missing / continuum**2).clamp_min(0).sqrt()
        variance = variance + (floor[:, None] * continuum) ** 2
    if clip is not None:
        size = residual**2 / variance
        scatter = (_median(size) / _MEDIAN).clamp_min(1)
        variance = torch.where(size > clip**2 * scatter[:, None], torch.inf, variance)
    return torch.where(good, 1 / variance, 0.0), floor


def _median(values):
    return values.nanmedian(1).values
