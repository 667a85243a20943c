"""An accelerator that does not exist, to see on a CPU what a real one would refuse.

Its tensors hold their numbers in the memory of the CPU, but say that they are on "cuda"
or "mps", and are as choosy as there: they meet no tensors of the CPU except numbers
without axes, they are not turned into numpy arrays, and on "mps" none is of float64.
torch itself takes them for tensors of its device "meta", which needs no driver: so
gradients, forward mode and vmap work as ever.
"""

import threading
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = ["DeviceMismatchError", "pretend", "used_random_state"]

_TURNS = threading.RLock()

_HIDDEN = torch.device("meta")
_CPU = torch.device("cpu")
_TOO_PRECISE = (torch.float64, torch.complex128)

# What takes tensors of several devices.
_MOVES = {"_to_copy", "copy_", "copy", "to", "type_as", "lift_fresh"}
# What takes indices, or a value, from the CPU, for a tensor on the device.
_INDEXES = {"index", "index_put_", "index_put", "_index_put_impl_", "_unsafe_index"}
# What takes a number without axes from the CPU, besides all that works on each value.
_SCALARS = {"masked_fill", "masked_fill_", "fill_", "fill", "where"}


class DeviceMismatchError(RuntimeError):
    """What a real device would not do."""


class OnDevice(torch.Tensor):
    """Tensor on the pretended device.

    Parameters
    ----------
    inner : Tensor
        Its numbers, on the CPU.
    """

    @staticmethod
    def __new__(cls, inner):
        """Make a tensor without memory of the same shape."""
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=_HIDDEN,
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        """Do what the mode does: backward passes may leave it."""
        return _run(func, args, kwargs or {})

    def __repr__(self):
        return f"OnDevice({self.inner!r})"


class _Asked(threading.local):
    """Whether a call meant the device: torch uses "meta" within others, too."""

    now = False


_ASKED = _Asked()


class _State:
    """What is known of the device that is pretended now."""

    name = None
    random = None
    log = ()


def _run(func, args, kwargs):
    """Do one operation, if the device would."""
    name = func._schema.name.partition("::")[2]
    leaves, spec = tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    on_device = any(isinstance(tensor, OnDevice) for tensor in tensors)
    targets = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
    if not on_device and not (_ASKED.now and _HIDDEN in targets):
        return func(*args, **kwargs)
    if name == "_has_compatible_shallow_copy_type":
        return all(isinstance(tensor, OnDevice) for tensor in tensors)
    _check_places(func, name, args, tensors)
    if any(isinstance(leaf, torch.Generator) for leaf in leaves):
        raise DeviceMismatchError(f"{name}: a generator of the CPU for the device")
    known, bare = {}, []
    for leaf in leaves:
        inner = _inner(leaf)
        if isinstance(leaf, OnDevice):
            known[id(inner)] = leaf
        bare.append(_CPU if inner == _HIDDEN and leaf in targets else inner)
    args, kwargs = tree_unflatten(bare, spec)
    if name in ("pin_memory", "is_pinned"):
        raise DeviceMismatchError(f"{name}: the memory of a device")
    with _random_state(func):
        found = func(*args, **kwargs)
    stays = _HIDDEN in targets if targets else on_device
    if name == "copy_":
        stays = isinstance(tensors[0], OnDevice)

    def placed(value):
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in known:
            return known[id(value)] if stays else value.clone()
        return _put(value) if stays else value

    return tree_map(placed, found)


def _inner(value):
    if isinstance(value, OnDevice):
        return value.inner
    if isinstance(value, torch.Tensor) and value.device == _HIDDEN:
        raise AssertionError(f"a tensor without numbers came up, of {value.shape}")
    return value


def _put(inner):
    """Put a tensor on the device."""
    if _State.name == "mps" and inner.dtype in _TOO_PRECISE:
        raise TypeError(f"MPS has no {inner.dtype}; shape {tuple(inner.shape)}")
    if inner._is_zerotensor():  # zeros without memory, of forward mode
        inner = torch.zeros(inner.shape, dtype=inner.dtype, device=_CPU)
    # views of ordinary tensors are ordinary tensors in inference mode, too
    with torch.inference_mode(False):
        return OnDevice(inner)


def _check_places(func, name, args, tensors):
    """Refuse operations between the device and the CPU."""
    if name in _MOVES:
        return
    elsewhere = [t for t in tensors if t.device == _CPU]
    if name in _INDEXES and isinstance(args[0], OnDevice):
        elsewhere = [t for t in args[2:3] if isinstance(t, torch.Tensor)]
        elsewhere = [t for t in elsewhere if t.device == _CPU]
    if torch.Tag.pointwise in func.tags or name in _SCALARS or name in _INDEXES:
        elsewhere = [t for t in elsewhere if t.ndim]
    if elsewhere and any(isinstance(t, OnDevice) for t in tensors):
        shapes = [(str(t.device == _CPU), tuple(t.shape)) for t in tensors]
        raise DeviceMismatchError(f"{name}: tensors of two devices; on CPU: {shapes}")


@contextmanager
def _random_state(func):
    """Draw from a random state of the device's own."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        yield
        return
    # threads that only look at a network take turns with one that trains
    with _TURNS:
        before = torch.default_generator.get_state()
        torch.default_generator.set_state(_State.random)
        try:
            yield
        finally:
            _State.random = torch.default_generator.get_state()
            torch.default_generator.set_state(before)


class _Operations(TorchDispatchMode):
    """Sees every operation, those of C++ too."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Names(TorchFunctionMode):
    """Translates the name of the device, to and fro."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = (resolve_name(func) or "").removeprefix("torch.")
        if name == "Tensor.device.__get__":
            found = func(*args)
            return torch.device(_State.name, 0) if found == _HIDDEN else found
        if name in ("Tensor.is_cuda.__get__", "Tensor.is_mps.__get__"):
            return _on_device(args[0]) and _State.name in name
        if name == "Tensor.is_meta.__get__":
            return False
        if name in ("Tensor.numpy", "Tensor.__array__") and _on_device(args[0]):
            raise TypeError(f"can't convert a tensor on {_State.name} to numpy")
        if name == "Tensor.tolist" and _on_device(args[0]):
            return args[0].cpu().tolist()
        if name == "Tensor.data.__set__" and isinstance(args[0], OnDevice):
            args[0].inner = args[1].inner
        if name in ("Tensor.cuda", "Tensor.mps"):
            return _move(args[0], _HIDDEN)
        if name == "Tensor.to":
            args = tree_map(_hidden, args)
        kwargs = {k: _hidden(v) if k == "device" else v for k, v in kwargs.items()}
        if name == "Tensor.new_tensor":
            device = kwargs.pop("device", args[0].device)
            kwargs.setdefault("dtype", args[0].dtype)
            return _move(torch.tensor(*args[1:], **kwargs), device)
        if name in ("tensor", "as_tensor", "asarray"):
            # torch would not fill them with numbers
            device = kwargs.pop("device", None)
            if device is None and isinstance(args[0], torch.Tensor):
                device = args[0].device
            made = func(*args, **kwargs)
            return made if device is None else _move(made, device)
        if name == "Tensor.__getitem__" and _on_device(args[0]):
            args = (args[0], _index(args[1], args[0].device))
        return _ask(func, args, kwargs)


def _index(index, device):
    """Give lists of an index as tensors of the device, which torch would not fill."""
    if isinstance(index, tuple):
        return tuple(_index(part, device) for part in index)
    if isinstance(index, list):
        kind = {} if index else {"dtype": torch.long}
        return _move(torch.tensor(index, **kind), device)
    return index


def _move(tensor, device):
    return _ask(torch.Tensor.to, (tensor, _hidden(device)), {})


def _ask(func, args, kwargs):
    """Call a function of torch, and remember whether it is about the device."""
    leaves, _ = tree_flatten((args, kwargs))
    before = _ASKED.now
    _ASKED.now = before or any(
        leaf == _HIDDEN
        if isinstance(leaf, torch.device)
        else isinstance(leaf, torch.Tensor) and _on_device(leaf)
        for leaf in leaves
    )
    try:
        return func(*args, **kwargs)
    finally:
        _ASKED.now = before


def _on_device(tensor):
    return torch.Tensor.device.__get__(tensor).type != "cpu"


def _hidden(value):
    """Put torch's own device for the pretended one."""
    if isinstance(value, str):
        try:
            device = torch.device(value)
        except RuntimeError:
            return value
    else:
        device = value
    if isinstance(device, torch.device) and device.type == _State.name:
        return _HIDDEN
    return value


def used_random_state():
    """Calls so far that touched the random state of an accelerator."""
    return list(_State.log)


@contextmanager
def pretend(name, *, free=2**40):
    """Pretend that there is a device.

    Parameters
    ----------
    name : {"cuda", "mps"}
        The device.
    free : int, default=2**40
        Its free memory in bytes.
    """
    before = vars(_State).copy()
    _State.name, _State.log = name, []
    _State.random = torch.Generator("cpu").manual_seed(12345).get_state()
    with ExitStack() as stack:
        for patch in _patches(name, free):
            stack.enter_context(patch)
        stack.enter_context(_Names())
        stack.enter_context(_Operations())
        try:
            yield name
        finally:
            for key in ("name", "random"):
                setattr(_State, key, before[key])


def _patches(name, free):
    """Give what torch is told of the device."""
    run = threading.Thread.run

    def run_with_modes(thread):
        with _Names(), _Operations():
            run(thread)

    yield mock.patch.object(threading.Thread, "run", run_with_modes)
    for function, fake in _random_functions(name).items():
        yield mock.patch.object(getattr(torch, name), function, fake)
    if name == "mps":
        yield mock.patch.object(torch.backends.mps, "is_available", _yes)
        return
    here = {
        "is_available": _yes,
        "is_initialized": _yes,
        "is_bf16_supported": lambda *args, **kwargs: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "mem_get_info": lambda device=None: (free, 2 * free),
        "device": lambda device: ExitStack(),
        "synchronize": lambda device=None: None,
    }
    for function, fake in here.items():
        yield mock.patch.object(torch.cuda, function, fake)


def _yes():
    return True


def _random_functions(kind):
    """Functions of the random state of the device, which note that they were called."""

    def noted(function):
        def call(*args):
            _State.log.append(f"{kind}.{function.__name__}")
            return function(*args)

        return call

    def get_rng_state(device=None):
        return _State.random.clone()

    def set_rng_state(state, device=None):
        _State.random = state.clone()

    def manual_seed(seed):
        _State.random = torch.Generator("cpu").manual_seed(seed).get_state()

    functions = {"manual_seed": manual_seed}
    if kind == "cuda":
        functions |= {"get_rng_state": get_rng_state, "set_rng_state": set_rng_state}
        functions["manual_seed_all"] = manual_seed
    else:  # there is one at most, so it is not named
        functions["get_rng_state"] = lambda: get_rng_state()
        functions["set_rng_state"] = lambda state: set_rng_state(state)
    return {name: noted(function) for name, function in functions.items()}
