"""Names of atoms and molecules: "Fe 2" is written 26.1 or 26.01 in some line lists."""

import re
from functools import lru_cache

__all__ = ["check_species", "species_of_code"]

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn "
    "Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La "
    "Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po "
    "At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es"
).split()

# Molecules whose lighter atom comes first; in others, such as MgH, the heavier does.
_LIGHTER_FIRST = {109: "HF", 117: "HCl", 607: "CN", 608: "CO", 616: "CS", 708: "NO"}
_NAME = re.compile(r"(?:[A-Z][a-z]?\d*)+")
_ATOM = re.compile(r"([A-Z][a-z]?)\d*")


@lru_cache(maxsize=4096)
def check_species(text):
    """Check and normalise the name of a species with its stage of ionisation.

    Parameters
    ----------
    text : str
        For example "Fe 1" or " CN  1 "; 1 is neutral.

    Returns
    -------
    species : str
        Name and stage, separated by one blank.

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
            f"{text!r} is not a species such as 'Fe 1', the neutral atom, or 'CN 1'"
        )
    return " ".join(words)


def species_of_code(number, charge):
    """Name a species from its number in the lists of Kurucz and MOOG.

    Parameters
    ----------
    number : int
        Atomic number of an atom. For a molecule, the atomic numbers of its atoms with
        two digits each: 607 is CN, 10108 is H2O.
    charge : int
        Charge of the ion; 0 is neutral.

    Returns
    -------
    species : str
        For example "Fe 2" for 26 and 1.

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
    atoms, digits = [], number
    while digits > 0:
        digits, atom = divmod(digits, 100)
        atoms.append(atom)
    if not atoms or not all(1 <= atom <= len(_SYMBOLS) for atom in atoms):
        raise ValueError(f"{number} is not the number of an atom or a molecule")
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
