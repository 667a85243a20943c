"""Atoms and molecules of line lists: their codes, and one way to write them.

It is here since each format has its own: "Fe 2", 26.1 and 26.01 are the same ion.
"""

import re
from functools import lru_cache

__all__ = ["check_species", "species_of_code"]

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn "
    "Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La "
    "Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po "
    "At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es"
).split()

# Chemists write the heavier atom first, as in MgH and TiO, but for these.
_LIGHTER_FIRST = {109: "HF", 117: "HCl", 607: "CN", 608: "CO", 616: "CS", 708: "NO"}
_NAME = re.compile(r"(?:[A-Z][a-z]?\d*)+")
_ATOM = re.compile(r"([A-Z][a-z]?)\d*")


@lru_cache(maxsize=4096)
def check_species(text):
    """Bring the name of a species, with its stage of ionisation, into our form.

    Parameters
    ----------
    text : str
        Such as "Fe 1" or " CN  1 "; 1 is neutral.

    Returns
    -------
    species : str
        Name and stage with one blank between them.

    Raises
    ------
    ValueError
        If there is no such atom or molecule.

    Examples
    --------
    >>> from sk_payne.grids._species import check_species
    >>> check_species("Fe  2")
    'Fe 2'
    """
    words = text.split()
    if (
        len(words) != 2
        or not _NAME.fullmatch(words[0])
        or not set(_ATOM.findall(words[0])) <= set(_SYMBOLS)
        or not words[1].isdecimal()
        or int(words[1]) < 1
    ):
        raise ValueError(
            f"{text!r} is no species such as 'Fe 1', the neutral atom, or 'CN 1'"
        )
    return " ".join(words)


def species_of_code(number, charge):
    """Name the species of a number, as Kurucz and MOOG count.

    Parameters
    ----------
    number : int
        Atomic number; of a molecule, the atomic numbers of its atoms, of two digits
        each from the second on: 607 is CN, 10108 is H2O.
    charge : int
        0 for neutral.

    Returns
    -------
    species : str
        Such as "Fe 2" for 26 and 1.

    Raises
    ------
    ValueError
        If an atomic number is unknown.

    Examples
    --------
    >>> from sk_payne.grids._species import species_of_code
    >>> [species_of_code(26, 1), species_of_code(112, 0), species_of_code(10108, 0)]
    ['Fe 2', 'MgH 1', 'H2O 1']
    """
    atoms, rest = [], number
    while rest > 0:
        rest, atom = divmod(rest, 100)
        atoms.append(atom)
    if not atoms or not all(1 <= atom <= len(_SYMBOLS) for atom in atoms):
        raise ValueError(f"{number} is no atomic number, nor those of a molecule")
    return f"{_name_of(number, atoms)} {charge + 1}"


def _name_of(number, atoms):
    if number in _LIGHTER_FIRST:
        return _LIGHTER_FIRST[number]
    if number == 10108:
        return "H2O"
    different = sorted(set(atoms), reverse=True)
    counts = [atoms.count(atom) for atom in different]
    pairs = zip(different, counts, strict=True)
    return "".join(_SYMBOLS[z - 1] + (str(n) if n > 1 else "") for z, n in pairs)
