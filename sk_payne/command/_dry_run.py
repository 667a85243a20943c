"""Dry run of `sk-payne measure`: the facts of each file, and what it lacks."""

from sk_payne.command._diagnosis import diagnose
from sk_payne.command._star_facts import facts_in_words
from sk_payne.command._star_reader import in_words_of_options

__all__ = ["dry_run"]


def dry_run(reader, paths, output):
    """Print the facts of each file, and what is missing to measure it.

    Parameters
    ----------
    reader : StarReader
        Reads the files.
    paths : list of str
        The files.
    output : Output
        Prints a block of lines for each spectrum, or one JSON object of all.

    Returns
    -------
    n_lacking : int
        Number of spectra and files that cannot be measured as they are.
    """
    found = []
    for path in paths:
        try:
            stars = [diagnose(star, reader.demands) for star in reader.stars(path)]
        except (ValueError, TypeError, OSError) as error:
            stars = [{"missing": [in_words_of_options(error)]}]
        for number, star in enumerate(stars):
            found.append({"file": path, "spectrum": number, **star})
            output.say(_in_words(path, number, star))
    lacking = sum(bool(one["missing"]) for one in found)
    output.say(f"\n{len(found) - lacking} of {len(found)} spectra can be measured.")
    output.result({"spectra": found})
    return lacking


def _in_words(path, number, star):
    where = path if number == 0 else f"{path}, spectrum {number}"
    lines = [where]
    if "format" in star:
        lines += facts_in_words(star)
    lines += [f"  missing          {one}" for one in star["missing"]]
    return "\n".join(lines)
