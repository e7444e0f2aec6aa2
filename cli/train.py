"""seqvae train: music or text to a model.

Options that are left out keep the value of the preset. Files are first prepared, into a dataset that lies beside the
run in .datasets and is named after the state of the files: the next run on them finds it there.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cli import data_options as data
from cli import training_options as training
from cli.console import INTERRUPTED, note, say
from cli.options import Encoding, named
from data_prep.wording import count
from seqvae.checks import check
from seqvae.config import TEXT, Config
from seqvae.errors import OptionError
from seqvae.run_folder import MODEL_FILE, STATE_FILE, check_place, check_spared, read_config

if TYPE_CHECKING:
    from data_prep.dataset import Dataset
    from data_prep.tokenizers.text import TextTokenizer
    from seqvae.distributed import World
    from seqvae.training import TrainResult

DATASETS = ".datasets"
SOURCE_MISSING = "SOURCE is missing: give files, folders or a dataset; or a run with --resume --out RUN"
ENDED = {
    "early": "stopped early: the validation score no longer improved",
    "over": "nothing was done, as the budget was used up before: resume with a larger one, like --steps or --minutes",
    "all over": "nothing was done: the run is at its end, which its phases set; another one can go on from its "
    "model with --start-from",
    "plateau": "stopped on a plateau, the learning rate having been halved as often as it may be",
}
SHOWN = ("elbo", "rate", "mutual_information", "perplexity", "note_on_accuracy", "note_on_free_running")

Sources = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SOURCE", parser=named, help=data.SOURCES_HELP, show_default=False),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="RUN", parser=named, help="The run folder; without it runs/SOURCE-PRESET or -from-MODEL."),
]
StartFrom = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Start from the weights of a model: a bundled one, a file or a run folder."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where the run in --out stopped.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the run in --out.")]


def train(
    context: typer.Context,
    sources: Sources = None,
    out: Out = None,
    preset: data.Preset = None,
    start_from: StartFrom = None,
    resume: Resume = False,
    force: Force = False,
    epochs: training.Epochs = None,
    steps: training.Steps = None,
    minutes: training.Minutes = None,
    validate_every: training.ValidateEvery = None,
    patience: training.Patience = None,
    select: training.Select = None,
    seed: training.Seed = None,
    device: training.Device = None,
    precision: training.Precision = None,
    batch_size: training.BatchSize = None,
    accumulate: training.Accumulate = None,
    optimizer: training.Optimizer = None,
    learning_rate: training.LearningRate = None,
    learning_rate_decay: training.LearningRateDecay = None,
    weight_average: training.WeightAverage = None,
    beta: training.Beta = None,
    annealing: training.Annealing = None,
    annealing_steps: training.AnnealingSteps = None,
    annealing_epochs: training.AnnealingEpochs = None,
    free_bits: training.FreeBits = None,
    free_bits_per: training.FreeBitsPer = None,
    free_bits_form: training.FreeBitsForm = None,
    mmd: training.Mmd = None,
    adversarial: training.Adversarial = None,
    whiten: training.Whiten = None,
    aggressive: training.Aggressive = None,
    word_dropout: training.WordDropout = None,
    encoder_drop: training.EncoderDrop = None,
    encoder_mask: training.EncoderMask = None,
    encoder_swap: training.EncoderSwap = None,
    scheduled_sampling: training.ScheduledSampling = None,
    posterior: training.Posterior = None,
    gamma: training.Gamma = None,
    minimum_rate: training.MinimumRate = None,
    summary: training.Summary = None,
    latent_to: training.LatentTo = None,
    dropout: training.Dropout = None,
    bars: data.Bars = None,
    meter: data.Meter = None,
    pair_bars: data.PairBars = None,
    programs: data.Programs = None,
    workers: data.Workers = None,
    vocabulary_size: data.VocabularySize = None,
    min_count: data.MinCount = None,
    max_length: data.MaxLength = None,
    long: data.Long = None,
    words: data.Words = None,
    lowercase: data.Lowercase = None,
    encoding: Encoding = None,
    tokenizer: data.TokenizerFile = None,
    valid: data.Valid = None,
    test: data.Test = None,
) -> None:
    """Train a model on music, or on text.

    A line of text is a sentence. Options that are left out have the preset's values, or those that the model of
    --start-from was trained with. Files are prepared first, into .datasets beside the run; as long
    as they stay unchanged, the next run uses that work again. A run that exists is never overwritten unasked.

    \b
    Examples:
      seqvae train tunes/ --minutes 30
      seqvae train jigs.abc --meter 6/8 --preset melody-2bar-small --out runs/jigs
      seqvae train tunes.seqvae --beta 0.5 --free-bits 48 --annealing cyclical
      seqvae train notes.txt --preset text-words --vocabulary-size 10000
      seqvae train names.txt --preset text-chars --word-dropout 0.3
      seqvae train mine/ --start-from melody-2bar --minutes 5    a few tunes, beginning with what is known already
      seqvae train --resume --out runs/jigs --epochs 100
      torchrun --nproc-per-node 2 -m cli.main train tunes/    by two processes, a GPU each if there are
    """
    from seqvae.distributed import joined
    from seqvae.previews import Previews
    from seqvae.training import train as run_training

    given = context.params
    with joined() as world:
        config, dataset, run = world.by_first(lambda: _settled(given, world))
        result = run_training(
            config, dataset, run, resume=resume, force=force, on_validation=Previews(dataset), world=world
        )
        if world.first:
            _report(result, config, dataset)


def _settled(given: Mapping[str, Any], world: "World") -> tuple[Config, Path, Path]:
    """The settings of the run, its dataset, which may have to be made first, and its folder."""
    from seqvae.run import check_computable

    sources, preset, resume, force = given["sources"] or [], given["preset"], given["resume"], given["force"]
    base = _base(given["start_from"], preset, sources)
    run = Path(os.path.abspath(given["out"])) if given["out"] else _default_run(sources, base, given["start_from"])
    if resume and force:
        raise OptionError("--resume goes on with a run, --force replaces it: give one of them")
    check_place(run, resume, force)
    named = [*sources, *(given["valid"] or []), *(given["test"] or []), *filter(None, [given["tokenizer"]])]
    check_spared(run, force, named)
    if resume and given["start_from"] is not None:
        raise OptionError("--start-from begins a run, --resume goes on with one: give one of them")
    if resume:
        before = read_config(run)
        if preset is not None and before.start_from is not None:
            raise OptionError(f"--preset {preset}: {run} was started from {before.start_from}; leave --preset out")
        if preset is None:
            base = before
        elif base.data.kind != before.data.kind:
            raise OptionError(f"--preset {preset} is for {base.data.kind}, and {run} is of {before.data.kind}")
        else:
            base = dataclasses.replace(base, data=before.data)
    else:  # the settings of another run may serve as a preset, its data do not
        base = dataclasses.replace(base, data=dataclasses.replace(base.data, dataset=None))
    if base.start_from is not None and given["tokenizer"] is not None:
        raise OptionError(
            f"--tokenizer {given['tokenizer']}: a run has the vocabulary of the model that it starts from"
        )
    config = data.with_data_options(training.with_training_options(base, given), given)
    check(config)
    check_computable(config, world)
    if base.start_from is not None and not resume:
        from seqvae.starting import check_kept

        check_kept(base, config)
    dataset = _dataset(sources, config, run, given)
    if not resume and config.start_from is not None:
        note(f"starting from {config.start_from}, at a learning rate of {config.stages()[0][1].learning_rate:g}")
    elif resume and (run / STATE_FILE).exists() and not (run / MODEL_FILE).exists():
        note(f"{run} has no {MODEL_FILE}: the best model from here on will be kept")
    elif preset is None and not resume:
        note(f"using preset {base.name}, as SOURCE is {config.data.kind}; choose another with --preset")
    return config, dataset.path, run


def _base(start_from: str | None, preset: str | None, sources: Sequence[Path]) -> Config:
    """The settings that options change: those of a preset, or of a model to start from."""
    if start_from is None:
        return data.read_preset(preset, sources)
    from seqvae.starting import settings

    return settings(start_from, None if preset is None else data.read_preset(preset, sources))


def _default_run(sources: Sequence[Path], base: Config, start_from: str | None) -> Path:
    if not sources:
        raise OptionError(SOURCE_MISSING)
    source = sources[0].resolve()
    stem = Path(source.stem).stem if source.suffix == ".gz" else source.stem
    way = Path(base.name).name or "preset"  # whatever a preset calls itself, it leads to no other place
    if start_from is not None:
        from seqvae.model_files import find_model, model_name

        way = f"from-{model_name(find_model(start_from))}"
    return Path("runs", f"{stem or 'run'}-{way}")


def _dataset(sources: Sequence[Path], config: Config, run: Path, given: Mapping[str, Any]) -> "Dataset":
    """The dataset given, the one that a resumed run remembers, or one made of files."""
    from data_prep import dataset
    from seqvae.data import check_validates

    data.check_splits(given["valid"], given["test"])
    before = Path(config.data.dataset) if config.data.dataset else None
    splits = {"valid": given["valid"] or [], "test": given["test"] or []}
    raw = bool(sources) and (len(sources) > 1 or not dataset.is_dataset(sources[0]))
    if not raw:
        if any(splits.values()):
            raise OptionError("--valid and --test go with text files as SOURCE: a dataset is split already")
        if given["workers"] is not None:
            raise OptionError(f"--workers {given['workers']}: goes with files as SOURCE: a dataset is read already")
        place = sources[0] if sources else before
        if place is None:
            raise OptionError(SOURCE_MISSING)
        if not place.exists():
            raise OptionError(f"SOURCE is missing: what {run} was trained on is not there any more ({place})")
        found = dataset.open_dataset(place)
        data.check_dataset(config, found, given)
        return found
    chosen, vocabulary = data.data_options(config.data), _vocabulary(config, before, given["tokenizer"])
    place = run.parent / DATASETS / dataset.fingerprint(sources, chosen, **splits, vocabulary=vocabulary)[:16]
    made = dataset.cached(
        sources, chosen, place, workers=given["workers"], progress=True, **splits, vocabulary=vocabulary
    )
    if before is not None and before.exists() and before.resolve() != place.resolve():
        return _same(dataset.open_dataset(before), made, run)
    say(f"reusing {place}: its sources have not changed" if made.reused else made.summary())
    check_validates(made, ", ".join(map(str, sources)))
    return made


def _same(before: "Dataset", made: "Dataset", run: Path) -> "Dataset":
    """What a resumed run was trained on, where what SOURCE gives now is the same; its files were copied or touched."""
    from data_prep.files import remove

    if not made.reused:
        remove(made.path)
    if made.info["contents"] != before.info["contents"]:
        told = f"--resume: {run} was trained on {before.path}; SOURCE holds other sequences, or in another order"
        raise OptionError(f"{told}; leave SOURCE out, or name another --out")
    say(f"going on with {before.path}: SOURCE holds the same")
    return before


def _vocabulary(config: Config, before: Path | None, file: Path | None) -> "TextTokenizer | None":
    """Of text a tokenizer that is there already: of the model that the run starts from, or of a tokenizer.json.

    Args:
        before: what a resumed run was trained on, which has either; they may be gone.
        file: a tokenizer.json that is given now.
    """
    if config.data.kind != TEXT:
        return None
    had = config.start_from is not None or (config.data.tokenizer_file is not None and file is None)
    if had and before is not None and before.exists():
        from data_prep.dataset import open_dataset

        return cast("TextTokenizer", open_dataset(before).tokenizer)
    if config.start_from is None:
        return None
    from data_prep.tokenizers.base import create
    from seqvae.starting import tokenizer_of

    return cast("TextTokenizer", create(tokenizer_of(config.start_from)))


def _report(result: "TrainResult", config: Config, dataset: Path) -> None:
    """Where the results are, how good they are, and what to try next."""
    if result.skipped_steps:
        say(f"skipped: {count(result.skipped_steps, 'step')} with a loss or gradient that was not finite")
    best = ", ".join(f"{name} {result.best[name]:.4g}" for name in SHOWN if name in result.best)
    say(f"{count(result.steps, 'step')} in {count(result.epochs, 'epoch')}{'; best on valid: ' * bool(best)}{best}")
    run = quote(str(result.run))
    there = {"its figures": "metrics.csv", "what it made meanwhile": "previews"}
    more = "".join(f", {what} in {result.run / name}" for what, name in there.items() if (result.run / name).exists())
    say(f"the model is in {result.run}{more}")
    if result.stopped == "interrupted":
        say(f"go on with: seqvae train --resume --out {run}")
        raise typer.Exit(INTERRUPTED)
    if result.stopped in ENDED:
        fixed = any(name in phase.changes for phase in config.phases for name in training.BUDGET)
        say(ENDED["all over" if result.stopped == "over" and fixed else result.stopped])
    from data_prep.dataset import open_dataset

    split = "" if len(open_dataset(dataset).split("test")) else " --split valid"
    say(f"measure it: seqvae evaluate {quote(str(dataset))} --model {run}{split}")
    say(f"try it: seqvae sample --model {run}")
