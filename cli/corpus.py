"""seqvae corpus: real tunes to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from cli.console import note, say
from cli.options import named
from data_prep.errors import InputError
from data_prep.wording import count
from seqvae.errors import OptionError

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Which books.", show_default=False)]


def corpus(
    names: Names = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", parser=named, help="Where to: a folder for each book is made there."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into folders that hold something already.")] = False,
) -> None:
    """Write real tunes as MIDI files.

    They come from the tunebooks in music21's corpus. Without a NAME the books are listed.

    \b
    Examples:
      seqvae corpus
      seqvae corpus oneills1850 ryansMammoth --out tunes
    """
    from data_prep.corpus import check_place, corpus_books, write_corpus

    books = corpus_books()
    if not names:
        if out is not None:
            raise OptionError(f"--out {out}: say which books to write; there are {', '.join(books)}")
        say("\n".join(f"{book.name:14} {book.description}; {book.licence}" for book in books.values()))
        return
    if out is None:
        raise OptionError("--out is missing: the folder to write the tunes to")
    try:
        check_place(names, out, force)
    except InputError as error:
        raise OptionError(str(error)) from None
    report = write_corpus(names, out, force=force, progress=True)
    for book, title, reason in report.skipped:
        note(f"left out: {book}, {title}: {reason}")
    for book, tunes in report.written.items():
        say(f"{count(tunes, 'tune')} in {out / book}")
