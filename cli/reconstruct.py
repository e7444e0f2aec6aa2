"""seqvae reconstruct: what a model makes of a melody or a sentence."""

from pathlib import Path
from typing import Annotated

import typer

from cli import inputs, options, outputs
from data_prep.wording import count
from seqvae.config import MUSIC


def reconstruct(
    context: typer.Context,
    items: options.Items,
    temperature: options.Temperature = 0.0,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    beam: options.Beam = None,
    length_penalty: options.LengthPenalty = None,
    unknown: options.Unknown = None,
    bar: options.Bar = None,
    encoding: options.Encoding = None,
    seed: options.Seed = None,
    model: options.Model = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    out: Annotated[Path | None, options.out("reconstruction")] = None,
    force: options.Force = False,
) -> None:
    """What does the model keep of music or sentences?

    They are encoded and decoded again. Of music one MIDI file is written for each file, and piano rolls of all, each
    below its original, to reconstruction.png. Of text each sentence is printed as the model reads it, and below it
    what is made of it.

    \b
    Examples:
      seqvae reconstruct tune.mid
      seqvae reconstruct tune.mid --bar 9 --out ninth
      seqvae reconstruct tunes/ --model runs/mine
      seqvae reconstruct "the cat sat" --model runs/notes-text-words
    """
    from seqvae import given
    from seqvae.trained import load

    vae = load(model, device, precision)
    found = inputs.find(items, vae)
    names = inputs.file_names(found) if vae.kind == MUSIC else []
    place = outputs.results(vae.kind, out, force, "reconstruction", names, "reconstruction.png")
    start = given.seed(seed)
    sources, examples = inputs.read_each(vae, found, bar, encoding=encoding)
    latents = inputs.encode(vae, examples)
    made = vae.decode(latents.mean, seed=start, tempo=latents.tempo, **options.decoding(context.params))
    what = count(len(made), "reconstruction")
    originals = [vae.tokenizer.decode(example.ids) for example in examples]  # as the model reads them
    if isinstance(place, outputs.Lines):
        place.write([line for pair in zip(originals, made, strict=True) for line in (pair[0], f"  {pair[1]}")], what)
    else:
        place.write(made, what, [names[source] for source in sources], originals)
    if temperature and seed is None:
        place.tell_seed(start)
