"""Clients of Dask clusters."""

from contextlib import contextmanager

__all__ = ["dask_client"]


@contextmanager
def dask_client(address):
    """Open a client of a Dask cluster.

    Parameters
    ----------
    address : str
        Address of the scheduler.

    Yields
    ------
    client : dask.distributed.Client
        Closed at the end.

    Raises
    ------
    ImportError
        If distributed is not installed.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            "--dask needs the package distributed; pip install 'sk_payne[dask]'."
        ) from error
    with Client(address) as client:
        yield client
